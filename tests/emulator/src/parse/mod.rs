//! PTX text to statements; names are resolved later, by `decode`.

mod body;
mod lexer;
mod module;
mod operand;

pub(crate) use body::{Body, CALL, Param, RawInstruction};
pub(crate) use module::{EntrySource, ModuleSource, parse_module};
pub(crate) use operand::RawOperand;

use crate::error::{ParseError, ParseErrorKind};

/// Builds an error without a source line.
pub(crate) fn error(line: u32, kind: ParseErrorKind) -> ParseError {
    ParseError {
        kind,
        line,
        source_line: None,
    }
}

/// Builds a syntax error.
pub(crate) fn syntax(line: u32, message: impl Into<String>) -> ParseError {
    error(line, ParseErrorKind::Syntax(message.into()))
}
