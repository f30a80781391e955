//! The encodings that a client may declare for headerless audio, by their names on the wire.
//!
//! What it does: names to types and back. What it does not do: decode ([`super::pcm`]) or sniff containers ([`super::sniff`]).
//! Who calls it: the request parsers, [`super::intake`].

use std::fmt;

use super::AudioError;
use super::pcm::SampleFormat;

/// A headerless encoding that can be decoded. Samples of several channels are interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Signed 16-bit little-endian integers.
    Linear16,
    /// 32-bit little-endian floats, full scale 1.0.
    Linear32,
    /// G.711 mu-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl Encoding {
    /// Parses a wire name.
    ///
    /// # Errors
    /// [`AudioError::Unsupported`] for names of the contract that have no decoder, [`AudioError::UnknownEncoding`] for others.
    pub fn parse(name: &str) -> Result<Self, AudioError> {
        let format = match name {
            "linear16" => return Ok(Encoding::Linear16),
            "linear32" => return Ok(Encoding::Linear32),
            "mulaw" => return Ok(Encoding::Mulaw),
            "alaw" => return Ok(Encoding::Alaw),
            "flac" => "flac",
            "amr-nb" => "amr-nb",
            "amr-wb" => "amr-wb",
            "opus" => "opus",
            "ogg-opus" => "ogg-opus",
            "speex" => "speex",
            "g729" => "g729",
            other => return Err(AudioError::UnknownEncoding { name: other.to_owned() }),
        };
        Err(AudioError::Unsupported { format })
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Linear16 => "linear16",
            Encoding::Linear32 => "linear32",
            Encoding::Mulaw => "mulaw",
            Encoding::Alaw => "alaw",
        }
    }

    /// How one sample is stored.
    pub fn sample_format(self) -> SampleFormat {
        match self {
            Encoding::Linear16 => SampleFormat::S16,
            Encoding::Linear32 => SampleFormat::F32,
            Encoding::Mulaw => SampleFormat::Mulaw,
            Encoding::Alaw => SampleFormat::Alaw,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for encoding in [Encoding::Linear16, Encoding::Linear32, Encoding::Mulaw, Encoding::Alaw] {
            assert_eq!(Encoding::parse(encoding.name()), Ok(encoding));
        }
    }

    #[test]
    fn known_codecs_without_a_decoder_are_named_and_others_are_unknown() {
        for name in ["flac", "amr-nb", "amr-wb", "opus", "ogg-opus", "speex", "g729"] {
            let error = Encoding::parse(name).unwrap_err();
            assert_eq!(error.to_string(), format!("{name} audio is not supported"));
        }
        assert_eq!(
            Encoding::parse("LINEAR16"),
            Err(AudioError::UnknownEncoding { name: "LINEAR16".into() })
        );
    }
}
