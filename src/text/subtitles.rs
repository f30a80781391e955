//! Words to subtitles: SubRip and WebVTT. Pure.

/// A word with its times in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Spoken<'a> {
    /// The word as shown.
    pub word: &'a str,
    /// Seconds from the beginning.
    pub start: f64,
    /// Seconds from the beginning.
    pub end: f64,
}

/// Most characters of one cue.
const WIDEST: usize = 80;
/// Longest cue in seconds.
const LONGEST_S: f64 = 6.0;
/// Pause that ends a cue, in seconds.
const PAUSE_S: f64 = 0.8;

/// SubRip: numbered cues, comma before the milliseconds.
pub fn srt(words: &[Spoken<'_>]) -> String {
    let cue = |(n, (start, end, text)): (usize, (f64, f64, String))| format!("{}\n{}\n{text}\n", n + 1, times(start, end, ','));
    cues(words).into_iter().enumerate().map(cue).collect::<Vec<_>>().join("\n")
}

/// WebVTT (W3C).
pub fn vtt(words: &[Spoken<'_>]) -> String {
    let cue = |(start, end, text): (f64, f64, String)| format!("\n{}\n{}\n", times(start, end, '.'), escape(&text));
    format!("WEBVTT\n{}", cues(words).into_iter().map(cue).collect::<String>())
}

/// Start, end and text of each cue, without line breaks: a blank line would end it.
fn cues(words: &[Spoken<'_>]) -> Vec<(f64, f64, String)> {
    let mut cues: Vec<(f64, f64, String)> = Vec::new();
    for word in words {
        // A dictated break is written with line feeds.
        let one_line = word.word.replace(char::is_whitespace, " ");
        match cues.last_mut() {
            Some((start, end, text))
                if word.start - *end < PAUSE_S
                    && word.end - *start <= LONGEST_S
                    && text.chars().count() + one_line.chars().count() < WIDEST =>
            {
                *end = word.end;
                text.push(' ');
                text.push_str(&one_line);
            }
            _ => cues.push((word.start, word.end, one_line)),
        }
    }
    cues
}

/// When a cue is shown: for a millisecond at least, since both formats want its end after its start.
fn times(start: f64, end: f64, point: char) -> String {
    let start = milliseconds(start);
    let end = milliseconds(end).max(start.saturating_add(1));
    format!("{} --> {}", clock(start, point), clock(end, point))
}

#[expect(clippy::as_conversions, reason = "saturating conversion of a time in milliseconds")]
fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0).round() as u64
}

fn clock(ms: u64, point: char) -> String {
    format!(
        "{:02}:{:02}:{:02}{point}{:03}",
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1000 % 60,
        ms % 1000
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<Spoken<'static>> {
        let word = |word, start, end| Spoken { word, start, end };
        vec![word("hello", 0.5, 0.9), word("there", 1.0, 1.25), word("a<b", 3661.0, 3661.5)]
    }

    #[test]
    fn a_pause_begins_a_new_cue() {
        assert_eq!(
            srt(&words()),
            "1\n00:00:00,500 --> 00:00:01,250\nhello there\n\n2\n01:01:01,000 --> 01:01:01,500\na<b\n"
        );
        assert_eq!(
            vtt(&words()),
            "WEBVTT\n\n00:00:00.500 --> 00:00:01.250\nhello there\n\n01:01:01.000 --> 01:01:01.500\na&lt;b\n"
        );
    }

    #[test]
    fn no_cue_has_a_line_break_or_ends_when_it_begins() {
        let word = |word, start, end| Spoken { word, start, end };
        let words = [word("Hello", 0.5, 0.9), word("<\n\n>", 0.9, 1.0), word("end.", 2.24, 2.24)];
        assert_eq!(
            srt(&words),
            "1\n00:00:00,500 --> 00:00:01,000\nHello <  >\n\n2\n00:00:02,240 --> 00:00:02,241\nend.\n"
        );
        assert_eq!(
            vtt(&words),
            "WEBVTT\n\n00:00:00.500 --> 00:00:01.000\nHello &lt;  &gt;\n\n00:00:02.240 --> 00:00:02.241\nend.\n"
        );
    }

    #[test]
    fn cues_are_bounded_in_time_and_width() {
        let many: Vec<Spoken<'_>> = (0..100u32)
            .map(|n| Spoken {
                word: "word",
                start: f64::from(n) * 0.3,
                end: f64::from(n) * 0.3 + 0.3,
            })
            .collect();
        let cues = cues(&many);
        assert!(
            cues.iter()
                .all(|(start, end, text)| end - start <= LONGEST_S + 1e-9 && text.len() <= WIDEST)
        );
        assert_eq!(cues.iter().map(|(_, _, text)| text.split(' ').count()).sum::<usize>(), 100);
    }
}
