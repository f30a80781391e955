//! The `engine_*` metric families, printed to the letter as dashboards of the compatible product expect them.
//!
//! The Prometheus exporter crate writes bucket bounds its own way (`le="1"` for `1.0`), hence this small writer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Bounds of `engine_stream_latency`, as text.
const LATENCY: [&str; 22] = [
    "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9",
    "2.0", "5.0", "10.0",
];
/// Bounds of `engine_batch_response_time_seconds`, as text.
const BATCH: [&str; 6] = ["1", "2.5", "5", "10", "30", "60"];
/// Bounds of `engine_stream_connection_latency_seconds`, as text.
const CONNECTION: [&str; 8] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1"];

/// What a request asks for, as the `kind` label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A recorded file.
    Batch,
    /// A live stream.
    Stream,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Kind::Batch => "batch",
            Kind::Stream => "stream",
        }
    }
}

/// The families' state.
#[derive(Debug)]
pub struct Compatible {
    active_batch: AtomicU64,
    active_stream: AtomicU64,
    /// Of both kinds: one number, so that each request has a place of its own among all.
    active_total: AtomicU64,
    requests: Mutex<BTreeMap<(Kind, u16), u64>>,
    batch: Histogram,
    latency: Histogram,
    connection: Histogram,
}

/// Counts an active request until dropped.
pub struct Active {
    metrics: Arc<Compatible>,
    kind: Kind,
    before: u64,
}

impl Active {
    /// Requests of any kind that were counted when this one came.
    pub fn before(&self) -> u64 {
        self.before
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.metrics.gauge(self.kind).fetch_sub(1, Relaxed);
        self.metrics.active_total.fetch_sub(1, Relaxed);
    }
}

impl Default for Compatible {
    fn default() -> Self {
        Self {
            active_batch: AtomicU64::new(0),
            active_stream: AtomicU64::new(0),
            active_total: AtomicU64::new(0),
            requests: Mutex::new(BTreeMap::new()),
            batch: Histogram::new(&BATCH),
            latency: Histogram::new(&LATENCY),
            connection: Histogram::new(&CONNECTION),
        }
    }
}

impl Compatible {
    /// A request of this kind is running, until the guard is dropped.
    pub fn active(self: &Arc<Self>, kind: Kind) -> Active {
        self.gauge(kind).fetch_add(1, Relaxed);
        Active {
            metrics: Arc::clone(self),
            kind,
            before: self.active_total.fetch_add(1, Relaxed),
        }
    }

    /// Requests of this kind now running.
    pub fn count(&self, kind: Kind) -> u64 {
        self.gauge(kind).load(Relaxed)
    }

    fn gauge(&self, kind: Kind) -> &AtomicU64 {
        match kind {
            Kind::Batch => &self.active_batch,
            Kind::Stream => &self.active_stream,
        }
    }

    /// A request ended with an HTTP status; a stream that was upgraded counts 200, or 500 if the server failed it.
    pub fn finished(&self, kind: Kind, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((kind, status / 100)).or_default() += 1;
    }

    /// A file was transcribed in that many seconds.
    pub fn batch_took(&self, seconds: f64) {
        self.batch.observe(seconds);
    }

    /// A live result took that many seconds from its last audio byte.
    pub fn stream_latency(&self, seconds: f64) {
        self.latency.observe(seconds);
    }

    /// A live stream was established in that many seconds.
    pub fn connected_in(&self, seconds: f64) {
        self.connection.observe(seconds);
    }

    /// The families in Prometheus text format 0.0.4. `capacity`: streams the node believes it can serve; `most`: the
    /// configured limit of requests, if there is one.
    pub fn render(&self, capacity: usize, most: Option<u32>) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        line("# HELP engine_active_requests Number of active requests.\n# TYPE engine_active_requests gauge".into());
        line(format!("engine_active_requests{{kind=\"batch\"}} {}", self.count(Kind::Batch)));
        line(format!("engine_active_requests{{kind=\"stream\"}} {}", self.count(Kind::Stream)));
        line("engine_active_requests{kind=\"tts\"} 0".into());
        line("# HELP engine_estimated_stream_capacity Streams this node believes it can serve in time.".into());
        line(format!(
            "# TYPE engine_estimated_stream_capacity gauge\nengine_estimated_stream_capacity {capacity}"
        ));
        if let Some(most) = most {
            line("# HELP engine_max_active_requests Configured limit of active requests.".into());
            line(format!(
                "# TYPE engine_max_active_requests gauge\nengine_max_active_requests {most}"
            ));
        }
        line("# HELP engine_requests_total Number of finished requests.\n# TYPE engine_requests_total counter".into());
        for (&(kind, class), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            line(format!(
                "engine_requests_total{{kind=\"{}\",response_status=\"{class}xx\"}} {count}",
                kind.label()
            ));
        }
        line(
            self.batch
                .render("engine_batch_response_time_seconds", "Time to transcribe a file."),
        );
        line(self.latency.render("engine_stream_latency", "Latency of live results in seconds."));
        line(
            self.connection
                .render("engine_stream_connection_latency_seconds", "Time to establish a live stream."),
        );
        out
    }
}

/// A histogram whose bounds are printed as given.
#[derive(Debug)]
struct Histogram {
    bounds: Vec<(&'static str, f64)>,
    state: Mutex<(Vec<u64>, u64, f64)>,
}

impl Histogram {
    fn new(bounds: &[&'static str]) -> Self {
        let bounds: Vec<_> = bounds.iter().map(|&text| (text, text.parse().unwrap_or(f64::INFINITY))).collect();
        let state = Mutex::new((vec![0; bounds.len()], 0, 0.0));
        Self { bounds, state }
    }

    fn observe(&self, value: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (buckets, count, sum) = &mut *state;
        for (bucket, (_, bound)) in buckets.iter_mut().zip(&self.bounds) {
            *bucket += u64::from(value <= *bound);
        }
        *count += 1;
        *sum += value;
    }

    fn render(&self, name: &str, help: &str) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (buckets, count, sum) = &*state;
        let mut out = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (bucket, (text, _)) in buckets.iter().zip(&self.bounds) {
            // Writing to a String cannot fail.
            writeln!(out, "{name}_bucket{{le=\"{text}\"}} {bucket}").ok();
        }
        write!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}").ok();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_exist_from_the_start_with_the_exact_bounds() {
        let text = Compatible::default().render(12, None);
        for line in [
            "engine_active_requests{kind=\"batch\"} 0",
            "engine_active_requests{kind=\"stream\"} 0",
            "engine_active_requests{kind=\"tts\"} 0",
            "engine_estimated_stream_capacity 12",
            "engine_stream_latency_bucket{le=\"1.0\"} 0",
            "engine_batch_response_time_seconds_bucket{le=\"1\"} 0",
            "engine_stream_latency_count 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("engine_max_active_requests"));
    }

    #[test]
    fn buckets_are_cumulative_and_requests_are_counted_by_class() {
        let metrics = Arc::new(Compatible::default());
        metrics.stream_latency(0.15);
        metrics.stream_latency(7.0);
        metrics.finished(Kind::Stream, 200);
        metrics.finished(Kind::Stream, 204);
        metrics.finished(Kind::Batch, 404);
        let running = metrics.active(Kind::Batch);
        let text = metrics.render(1, Some(9));
        drop(running);
        for line in [
            "engine_stream_latency_bucket{le=\"0.1\"} 0",
            "engine_stream_latency_bucket{le=\"0.2\"} 1",
            "engine_stream_latency_bucket{le=\"5.0\"} 1",
            "engine_stream_latency_bucket{le=\"10.0\"} 2",
            "engine_stream_latency_bucket{le=\"+Inf\"} 2",
            "engine_requests_total{kind=\"stream\",response_status=\"2xx\"} 2",
            "engine_requests_total{kind=\"batch\",response_status=\"4xx\"} 1",
            "engine_active_requests{kind=\"batch\"} 1",
            "engine_max_active_requests 9",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert_eq!(metrics.count(Kind::Batch), 0);
    }

    #[test]
    fn of_many_requests_at_once_each_has_a_place_of_its_own() {
        let metrics = Arc::new(Compatible::default());
        let hold = |kind| (0..200).map(|_| metrics.active(kind)).collect::<Vec<Active>>();
        let held: Vec<Vec<Active>> = std::thread::scope(|threads| {
            let running = [Kind::Batch, Kind::Stream, Kind::Batch, Kind::Stream].map(|kind| threads.spawn(move || hold(kind)));
            running.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let mut places: Vec<u64> = held.iter().flatten().map(Active::before).collect();
        places.sort_unstable();
        assert_eq!(places, (0..800).collect::<Vec<u64>>());
        assert_eq!((metrics.count(Kind::Batch), metrics.count(Kind::Stream)), (400, 400));
        drop(held);
        assert_eq!(metrics.active(Kind::Stream).before(), 0);
    }
}
