//! Operands of instructions, unresolved.

use super::lexer::{Lexer, Token};
use super::syntax;
use crate::error::ParseError;

/// An operand as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawOperand<'a> {
    /// A register, variable, parameter, label or special register, plus a constant.
    Name(&'a str, i64),
    /// `!name`: a negated predicate.
    Not(&'a str),
    /// An integer, or the bits of an `0f` or `0d` literal.
    Immediate(u64),
    /// `{a, b, ...}`.
    Vector(Vec<RawOperand<'a>>),
    /// `[base + offset]`; the base is a name or an immediate.
    Address(Box<RawOperand<'a>>),
    /// `a|b`.
    Pair(&'a str, &'a str),
    /// `(a, b)`: arguments of a call.
    List,
}

/// The bits of a literal, or `None` where `word` is a name.
pub(crate) fn literal(word: &str) -> Option<u64> {
    let bytes = word.as_bytes();
    if !bytes.first()?.is_ascii_digit() {
        return None;
    }
    if let Some(hex) = word.strip_prefix("0f").or_else(|| word.strip_prefix("0F")) {
        return u32::from_str_radix(hex, 16).ok().map(u64::from);
    }
    if let Some(hex) = word.strip_prefix("0d").or_else(|| word.strip_prefix("0D")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    let digits = word.strip_suffix('U').unwrap_or(word);
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(binary) = digits.strip_prefix("0b") {
        return u64::from_str_radix(binary, 2).ok();
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return u64::from_str_radix(digits, 8).ok();
    }
    digits.parse().ok()
}

/// Takes a literal with an optional sign.
pub(crate) fn signed_literal(lexer: &mut Lexer<'_>) -> Result<u64, ParseError> {
    let negative = lexer.eat(b'-')?;
    let word = lexer.word()?;
    let value = literal(word).ok_or_else(|| syntax(lexer.line(), format!("a number expected, found `{word}`")))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// Takes one operand.
pub(crate) fn operand<'a>(lexer: &mut Lexer<'a>) -> Result<RawOperand<'a>, ParseError> {
    match lexer.peek()? {
        Token::Punct(b'{') => {
            lexer.next()?;
            let mut parts = Vec::new();
            loop {
                parts.push(operand(lexer)?);
                if !lexer.eat(b',')? {
                    break;
                }
            }
            lexer.expect(b'}')?;
            Ok(RawOperand::Vector(parts))
        }
        Token::Punct(b'[') => {
            lexer.next()?;
            let base = operand(lexer)?;
            lexer.expect(b']')?;
            Ok(RawOperand::Address(Box::new(base)))
        }
        Token::Punct(b'(') => {
            while !lexer.eat(b')')? {
                if lexer.next()? == Token::End {
                    return Err(syntax(lexer.line(), "a parenthesis is not closed"));
                }
            }
            Ok(RawOperand::List)
        }
        Token::Punct(b'!') => {
            lexer.next()?;
            Ok(RawOperand::Not(lexer.word()?))
        }
        Token::Punct(b'-') => signed_literal(lexer).map(RawOperand::Immediate),
        Token::Word(word) => {
            lexer.next()?;
            if let Some(value) = literal(word) {
                return Ok(RawOperand::Immediate(value));
            }
            if lexer.eat(b'|')? {
                return Ok(RawOperand::Pair(word, lexer.word()?));
            }
            let plus = lexer.eat(b'+')?;
            let offset = if plus || lexer.peek()? == Token::Punct(b'-') {
                signed_literal(lexer)?
            } else {
                0
            };
            Ok(RawOperand::Name(word, offset.cast_signed()))
        }
        other => Err(syntax(lexer.line(), format!("an operand expected, found {other:?}"))),
    }
}
