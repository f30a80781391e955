//! The built-in defaults of the sections; `config/default.toml` gives the reason for each (a test proves that it says the same).

use std::path::PathBuf;
use std::time::Duration;

use super::{Callback, Engine, Fetch, Files, Gpu, GpuMode, Metrics, Models, Server, Stream};

impl Default for Server {
    fn default() -> Self {
        Server {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            base_url: "/v1".to_owned(),
            workers: None,
            tls_cert: None,
            tls_key: None,
            drain: Duration::from_secs(1_800),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            enabled: true,
            host: "127.0.0.1".to_owned(),
            port: 9991,
        }
    }
}

impl Default for Models {
    fn default() -> Self {
        Models {
            dir: PathBuf::from("models"),
            default: None,
            aliases: None,
            look_ahead: None,
            lm: None,
            lm_choices: Vec::new(),
            lm_weight: None,
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            threads: None,
            groups: 1,
            slots: None,
            max_batch: None,
            budget: Duration::from_millis(400),
            longer_chunks: false,
        }
    }
}

impl Default for Gpu {
    fn default() -> Self {
        Gpu {
            mode: GpuMode::Auto,
            devices: vec![0],
            driver: None,
            nvrtc: None,
            cache: None,
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Stream {
            max_message_bytes: 16 << 20,
            undecoded_budget_bytes: 512 << 20,
            credits: 4,
            result_backlog: 64,
            idle_timeout: Duration::from_secs(10),
            no_audio_timeout: Duration::from_secs(60),
            interim_step: Duration::from_secs(1),
            segment_soft: Duration::from_secs(5),
            segment_hard: Duration::from_secs(10),
            tcp_user_timeout: Duration::from_secs(20),
            receive_buffer_bytes: 128 << 10,
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Files {
            max_upload_bytes: 2 << 30,
            max_duration: Duration::from_secs(12 * 3_600),
            timeout: Duration::from_secs(600),
            share: 0.1,
            patience: Duration::from_secs(2),
            step: Duration::from_millis(40),
            at_once: 32,
            windows_in_flight: 4,
        }
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Fetch {
            allow_private: false,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
            max_redirects: 10,
        }
    }
}

impl Default for Callback {
    fn default() -> Self {
        Callback {
            database: None,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            retry_interval: Duration::from_secs(30),
            retries: 10,
            at_once: 8,
            max_pending: 10_000,
            max_bytes: 10 << 30,
            token: None,
        }
    }
}
