use super::*;

const DEFAULT_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.toml");
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::load(Some(file.path()), env)
        .map(|(config, _)| config)
        .map_err(|error| error.to_string())
}

fn with_env(env: &[(&str, &str)]) -> Result<Config, String> {
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::load(None, env).map(|(config, _)| config).map_err(|error| error.to_string())
}

/// A configuration in which every optional key has a value.
fn full() -> Config {
    let mut config = Config::default();
    config.server.workers = Some(4);
    config.server.tls_cert = Some("/cert".into());
    config.server.tls_key = Some("/key".into());
    config.auth.mode = AuthMode::Keys;
    config.auth.keys = vec![Key {
        name: "desk".into(),
        sha256: HASH.into(),
        weight: 1.0,
        streams: Some(1),
        files: Some(1),
        scopes: vec![Scope::Live],
    }];
    config.models.default = Some("a".into());
    config.models.aliases = Some(vec!["a".into()]);
    config.engine.slots = Some(1);
    config.engine.max_batch = Some(1);
    config.gpu.driver = Some("a".into());
    config.gpu.nvrtc = Some("a".into());
    config.gpu.cache = Some("a".into());
    config.models.look_ahead = Some(1);
    config.models.lm = Some("a".into());
    config.models.lm_weight = Some(1.0);
    config.engine.threads = Some(2);
    config.callback.database = Some("a".into());
    config.callback.token = Some(HASH.into());
    config.limits.active_requests = Some(100);
    config.limits.engine_active_requests = Some(100);
    config
}

/// `section.key` of every value.
fn keys(table: &toml::Table, path: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            toml::Value::Table(inner) => keys(inner, &path, into),
            toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
                items
                    .iter()
                    .filter_map(toml::Value::as_table)
                    .for_each(|inner| keys(inner, &path, into));
            }
            _ => into.push(path),
        }
    }
}

#[test]
fn the_default_file_equals_the_built_in_defaults() {
    let (config, warnings) = Config::load(Some(Path::new(DEFAULT_FILE)), std::iter::empty()).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(warnings, []);
}

/// Also the keys that have no value by default: they stand there as comments that need only lose their `#`.
#[test]
fn the_default_file_has_every_key_with_an_explanation() {
    let text = std::fs::read_to_string(DEFAULT_FILE).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("#:") {
            Some(code) => format!("{}\n", code.trim_start()),
            None => format!("{line}\n"),
        })
        .collect();
    let (mut present, mut expected) = (Vec::new(), Vec::new());
    keys(&uncommented.parse().unwrap(), "", &mut present);
    keys(&toml::Table::try_from(full()).unwrap(), "", &mut expected);
    present.sort();
    expected.sort();
    assert_eq!(present, expected);

    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate().skip(1) {
        if line
            .trim_start_matches("#:")
            .trim_start()
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()))
        {
            assert!(lines[number - 1].starts_with("# "), "no explanation above: {line}");
        }
    }
}

#[test]
fn the_other_presets_are_valid() {
    for name in ["telephony.toml", "dev-cpu.toml"] {
        let path = Path::new(DEFAULT_FILE).with_file_name(name);
        let config = Config::load(Some(path.as_path()), std::iter::empty()).unwrap().0;
        assert_ne!(config, Config::default(), "{name}");
        // Clients may send whole files as one message.
        assert!(config.stream.max_message_bytes >= 16 << 20, "{name}");
    }
}

#[test]
fn the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
    let config = load(
        "[server]\nport = 1\nhost = \"localhost\"\n[files]\nshare = 0.5\n",
        &[
            ("HARK_SERVER__PORT", "9000"),
            ("HARK_STREAM__IDLE_TIMEOUT", "5s"),
            ("HARK_FETCH__ALLOW_PRIVATE", "true"),
            ("HARK_ENGINE__THREADS", "3"),
            ("HARK_MODELS__DEFAULT", "nova, true"),
            ("HARK_LOG", "debug"),
            ("PATH", "/bin"),
            ("DEEPGRAM_API_KEY", "x"),
            ("DEEPGRAM_DEPLOYMENT_ORCHESTRATOR", "kubernetes"),
            ("NVIDIA_VISIBLE_DEVICES", "all"),
        ],
    )
    .unwrap();
    assert_eq!(
        (config.server.port, config.server.host.as_str(), config.server.base_url.as_str()),
        (9_000, "localhost", "/v1")
    );
    assert_eq!(
        (config.files.share, config.stream.idle_timeout, config.fetch.allow_private),
        (0.5, Duration::from_secs(5), true)
    );
    assert_eq!(
        (config.engine.threads, config.models.default.as_deref()),
        (Some(3), Some("nova, true"))
    );
}

#[test]
fn errors_name_the_key_the_place_and_the_variable() {
    let error = load("[server]\nport = 8080\nprot = 1\n", &[]).unwrap_err();
    assert!(error.contains("line 3") && error.contains("`prot`"), "{error}");
    let error = load("[server]\nprot = \"${A}\"\n", &[("A", "x")]).unwrap_err();
    assert!(error.contains("`prot`"), "{error}");
    assert!(load("[sever]\n", &[]).unwrap_err().contains("`sever`"));
    assert!(load("[server\n", &[]).unwrap_err().contains("line 1"));
    let error = with_env(&[("HARK_SERVER__PROT", "1")]).unwrap_err();
    assert!(error.starts_with("HARK_SERVER__PROT: ") && error.contains("`prot`"), "{error}");
    assert_eq!(
        with_env(&[("HARK_SERVER__PORT", "x")]).unwrap_err(),
        "HARK_SERVER__PORT: \"x\" is not a whole number"
    );
    assert!(
        with_env(&[("HARK_SERVER__PORT", "65536")])
            .unwrap_err()
            .starts_with("HARK_SERVER__PORT: ")
    );
    assert!(
        with_env(&[("HARK_STREAM__IDLE_TIMEOUT", "5")])
            .unwrap_err()
            .contains("is not a duration")
    );
    assert!(with_env(&[("HARK_AUTH__KEYS", "x")]).unwrap_err().contains("only be set in a file"));
    let error = Config::load(Some(Path::new("/no/such/file")), std::iter::empty()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /no/such/file");
}

#[test]
fn variables_are_replaced_in_values_only() {
    let config = load("[models]\ndefault = \"${A}-${B}x${\"\n", &[("A", "one"), ("B", "\"\nport = 1")]).unwrap();
    assert_eq!(config.models.default.as_deref(), Some("one-\"\nport = 1x${"));
    let error = load("[models]\ndefault = \"${NOPE}\"\n", &[]).unwrap_err();
    assert_eq!(error, "models.default refers to the environment variable NOPE, which is not set");
}

#[test]
fn ranges_hold_at_their_ends() {
    for (name, good, bad) in [
        ("HARK_SERVER__WORKERS", "1", "0"),
        ("HARK_SERVER__BASE_URL", "", "v1"),
        ("HARK_SERVER__BASE_URL", "/a/b", "/v1/"),
        ("HARK_SERVER__DRAIN", "0s", "25h"),
        ("HARK_ENGINE__BUDGET", "50ms", "49ms"),
        ("HARK_ENGINE__SLOTS", "65536", "65537"),
        ("HARK_STREAM__UNDECODED_BUDGET_BYTES", "16777216", "16777215"),
        ("HARK_STREAM__SEGMENT_SOFT", "10s", "11s"),
        ("HARK_FILES__SHARE", "0.9", "0.91"),
        ("HARK_FETCH__MAX_REDIRECTS", "50", "51"),
        ("HARK_CALLBACK__TIMEOUT", "100ms", "99ms"),
        ("HARK_CALLBACK__RETRY_INTERVAL", "1h", "2h"),
        ("HARK_CALLBACK__RETRIES", "1000", "1001"),
        ("HARK_CALLBACK__AT_ONCE", "1", "0"),
        ("HARK_CALLBACK__MAX_PENDING", "1000000", "1000001"),
        ("HARK_CALLBACK__MAX_BYTES", "1048576", "1048575"),
        ("HARK_CALLBACK__TOKEN", "a", "a b"),
        ("HARK_ENGINE__MAX_BATCH", "4096", "4097"),
        ("HARK_MODELS__LOOK_AHEAD", "0", "1001"),
        ("HARK_LIMITS__ACTIVE_REQUESTS", "1", "0"),
        ("HARK_LIMITS__QUERY_BYTES", "65534", "65535"),
        ("HARK_STREAM__RECEIVE_BUFFER_BYTES", "4096", "4095"),
    ] {
        with_env(&[(name, good)]).unwrap_or_else(|error| panic!("{name}={good}: {error}"));
        let error = with_env(&[(name, bad)]).unwrap_err();
        let key = name.trim_start_matches("HARK_").to_lowercase().replace("__", ".");
        assert!(
            error.starts_with(&key) || error.starts_with("stream.segment_hard"),
            "{name}={bad}: {error}"
        );
    }
    assert!(with_env(&[("HARK_FILES__SHARE", "NaN")]).is_err());
    assert!(
        with_env(&[("HARK_SERVER__TLS_CERT", "/c")])
            .unwrap_err()
            .starts_with("server.tls_cert")
    );
}

#[test]
fn the_weight_of_a_language_model_needs_one() {
    let weight = |weight| with_env(&[("HARK_MODELS__LM", "orders"), ("HARK_MODELS__LM_WEIGHT", weight)]);
    for (text, wanted) in [("0", 0.0), ("0.7", 0.7), ("100", 100.0)] {
        assert_eq!(weight(text).unwrap().models.lm_weight, Some(wanted), "{text}");
    }
    for text in ["100.1", "-1", "nan", "much"] {
        assert!(weight(text).is_err(), "{text}");
    }
    let error = with_env(&[("HARK_MODELS__LM_WEIGHT", "0.7")]).unwrap_err();
    assert_eq!(error, "models.lm_weight: is only used with models.lm or models.lm_choices");
    assert!(load("[models]\nlm_choices = [\"orders\"]\nlm_weight = 0.7", &[]).is_ok());
}

#[test]
fn language_models_to_choose_from_are_different_and_not_too_many() {
    let choices = |count: usize, same: bool| {
        let names: Vec<String> = (0..count).map(|n| format!("\"lm-{}\"", if same { 0 } else { n })).collect();
        load(&format!("[models]\nlm_choices = [{}]", names.join(", ")), &[])
    };
    assert_eq!(choices(64, false).unwrap().models.lm_choices.len(), 64);
    assert_eq!(choices(65, false).unwrap_err(), "models.lm_choices: 65 is not between 0 and 64");
    assert_eq!(choices(2, true).unwrap_err(), "models.lm_choices: \"lm-0\" occurs twice");
}

#[test]
fn aliases_of_the_model_are_names_and_not_too_many() {
    let aliases = |names: &[String]| {
        let config = load(&format!("[models]\naliases = {names:?}"), &[]);
        config.map(|config| config.models.aliases)
    };
    assert_eq!(load("", &[]).unwrap().models.aliases, None);
    for names in [Vec::new(), vec!["x".repeat(64)], vec!["nova-3".to_owned(); 256]] {
        assert_eq!(aliases(&names), Ok(Some(names)));
    }
    for (names, reason) in [
        (vec!["x".to_owned(); 257], "257 is not between 0 and 256"),
        (vec![String::new()], "\"\" must be 1 to 64"),
        (vec!["x".repeat(65)], "must be 1 to 64"),
        (vec!["front desk".to_owned()], "\"front desk\" must be 1 to 64"),
    ] {
        let error = aliases(&names).unwrap_err();
        assert!(error.starts_with("models.aliases: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn who_may_listen_where() {
    for host in ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"] {
        assert!(with_env(&[("HARK_SERVER__HOST", host)]).is_ok(), "{host}");
    }
    for host in ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com"] {
        assert!(
            with_env(&[("HARK_SERVER__HOST", host)]).unwrap_err().starts_with("auth.mode"),
            "{host}"
        );
        assert!(
            with_env(&[("HARK_SERVER__HOST", host), ("HARK_AUTH__MODE", "none")]).is_ok(),
            "{host}"
        );
    }
    let key = format!("[[auth.keys]]\nname = \"desk\"\nsha256 = \"{HASH}\"\n");
    let config = load(&format!("[server]\nhost = \"0.0.0.0\"\n[auth]\nmode = \"keys\"\n{key}"), &[]).unwrap();
    let hash = config.auth.keys[0].hash().unwrap();
    assert_eq!((hash[0], hash[1], hash[31]), (0x9f, 0x86, 0x08));
    assert_eq!(
        config.auth.keys[0].scopes,
        [Scope::Live, Scope::Files],
        "everything, unless told otherwise"
    );
    let scoped = |scopes: &str| load(&format!("[auth]\nmode = \"keys\"\n{key}scopes = {scopes}\n"), &[]);
    assert_eq!(scoped("[\"files\"]").unwrap().auth.keys[0].scopes, [Scope::Files]);
    assert!(scoped("[\"all\"]").unwrap_err().contains("unknown variant `all`"));
    assert!(scoped("[]").unwrap_err().starts_with("auth.keys.scopes"));
    assert!(load(&key, &[]).unwrap_err().contains("only asked for with mode"));
    assert!(load("[auth]\nmode = \"keys\"\n", &[]).unwrap_err().starts_with("auth.keys"));
    assert!(
        load(&format!("[auth]\nmode = \"keys\"\n{key}{key}"), &[])
            .unwrap_err()
            .contains("occurs twice")
    );
    assert!(
        load(&format!("[auth]\nmode = \"keys\"\n{}", key.replace("9f", "zz")), &[])
            .unwrap_err()
            .contains("64 hexadecimal digits")
    );
}

#[test]
fn what_is_printed_hides_hashes_and_can_be_read_back() {
    let config = full();
    let printed = config.to_toml_redacted().unwrap();
    assert!(!printed.contains(HASH) && printed.contains(HIDDEN), "{printed}");
    assert!(!format!("{config:?}").contains(HASH));
    assert_eq!(toml::from_str::<Config>(&printed.replace(HIDDEN, HASH)).unwrap(), config);
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let text = format!("# {}\n", "x".repeat(MAX_FILE_BYTES as usize));
    assert!(load(&text, &[]).unwrap_err().contains("is longer than 1048576 bytes"));
}
