//! Reads the pieces of a SentencePiece model file: a protobuf message, of which three fields matter.
//!
//! Source: `sentencepiece_model.proto`, fields `pieces` (1: text 1, score 2, type 3) and `trainer_spec` (2: model type 3);
//! protobuf wire format. What it does not do: encode text, scores, normalization. Called by the archive reader.

use thiserror::Error;

/// Most pieces of one model.
pub(super) const MAX_PIECES: usize = 1 << 18;
/// Longest piece in bytes.
const MAX_PIECE_LEN: usize = 1 << 10;

/// Why a model file is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SentencePieceError {
    /// The file ends inside a field.
    #[error("the tokenizer model ends early")]
    Truncated,
    /// A number or field that the format does not allow.
    #[error("the tokenizer model is malformed: {0}")]
    Malformed(&'static str),
    /// A limit of this reader.
    #[error("the tokenizer model has more than {limit} {what}")]
    TooMany {
        /// What is too many.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Word or character models, whose texts are joined otherwise.
    #[error("the tokenizer model is of kind {0}, only unigram (1) and bpe (2) are supported")]
    Kind(u64),
}

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceType {
    /// Ordinary text.
    Normal,
    /// Stands for text that the model cannot write.
    Unknown,
    /// Invisible, for example the start of a sentence.
    Control,
    /// A symbol that the user asked for, visible.
    UserDefined,
    /// Never produced.
    Unused,
    /// One byte of UTF-8.
    Byte,
}

/// A field's value; the rest of its kinds are skipped.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Pieces in id order.
pub(super) fn pieces(model: &[u8]) -> Result<Vec<(String, PieceType)>, SentencePieceError> {
    let mut pieces = Vec::new();
    let mut input = model;
    while !input.is_empty() {
        match field(&mut input)? {
            (1, Field::Bytes(bytes)) => {
                if pieces.len() >= MAX_PIECES {
                    return Err(SentencePieceError::TooMany {
                        what: "pieces",
                        limit: MAX_PIECES,
                    });
                }
                pieces.push(piece(bytes)?);
            }
            (2, Field::Bytes(trainer)) => match number(trainer, 3)? {
                None | Some(1 | 2) => {}
                Some(kind) => return Err(SentencePieceError::Kind(kind)),
            },
            _ => {}
        }
    }
    Ok(pieces)
}

fn piece(mut input: &[u8]) -> Result<(String, PieceType), SentencePieceError> {
    let (mut text, mut kind) = (None, PieceType::Normal);
    while !input.is_empty() {
        match field(&mut input)? {
            (1, Field::Bytes(bytes)) if bytes.len() > MAX_PIECE_LEN => {
                return Err(SentencePieceError::TooMany {
                    what: "bytes in a piece",
                    limit: MAX_PIECE_LEN,
                });
            }
            (1, Field::Bytes(bytes)) => {
                text = Some(
                    std::str::from_utf8(bytes)
                        .map_err(|_| SentencePieceError::Malformed("a piece is not UTF-8"))?
                        .to_owned(),
                );
            }
            (3, Field::Number(value)) => {
                kind = match value {
                    1 => PieceType::Normal,
                    2 => PieceType::Unknown,
                    3 => PieceType::Control,
                    4 => PieceType::UserDefined,
                    5 => PieceType::Unused,
                    6 => PieceType::Byte,
                    _ => return Err(SentencePieceError::Malformed("a piece is of no known type")),
                };
            }
            _ => {}
        }
    }
    Ok((text.ok_or(SentencePieceError::Malformed("a piece has no text"))?, kind))
}

/// The last value of a number field, if it occurs.
fn number(mut input: &[u8], wanted: u64) -> Result<Option<u64>, SentencePieceError> {
    let mut found = None;
    while !input.is_empty() {
        if let (id, Field::Number(value)) = field(&mut input)?
            && id == wanted
        {
            found = Some(value);
        }
    }
    Ok(found)
}

fn field<'a>(input: &mut &'a [u8]) -> Result<(u64, Field<'a>), SentencePieceError> {
    let key = varint(input)?;
    let value = match key & 7 {
        0 => Field::Number(varint(input)?),
        1 => take(input, 8).map(|_| Field::Other)?,
        2 => {
            let len = usize::try_from(varint(input)?).map_err(|_| SentencePieceError::Truncated)?;
            Field::Bytes(take(input, len)?)
        }
        5 => take(input, 4).map(|_| Field::Other)?,
        _ => return Err(SentencePieceError::Malformed("a field is of no known wire type")),
    };
    Ok((key >> 3, value))
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], SentencePieceError> {
    let (head, tail) = input.split_at_checked(count).ok_or(SentencePieceError::Truncated)?;
    *input = tail;
    Ok(head)
}

fn varint(input: &mut &[u8]) -> Result<u64, SentencePieceError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *take(input, 1)?.first().ok_or(SentencePieceError::Truncated)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(SentencePieceError::Malformed("a number has more than 64 bits"))
}
