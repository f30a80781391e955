//! Splits PTX text into tokens.

use super::syntax;
use crate::error::ParseError;

/// A token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token<'a> {
    /// Letters, digits, `_`, `$`, `%`, `.` and `::`: names, numbers, opcodes, directives.
    Word(&'a str),
    /// A single other character.
    Punct(u8),
    /// Text between double quotes.
    Text(&'a str),
    /// The end of the input.
    End,
}

/// Walks over the tokens of a PTX text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    /// Line of `position`.
    at_line: u32,
    /// Line on which the last token taken began.
    line: u32,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Lexer {
            text,
            position: 0,
            at_line: 1,
            line: 1,
        }
    }

    /// Line of the token taken last.
    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// Skips blanks and comments; returns false where a newline was met and `stop_at_newline` is set.
    fn skip_blank(&mut self, stop_at_newline: bool) -> bool {
        loop {
            let byte = self.byte(self.position);
            if byte == b'\n' {
                if stop_at_newline {
                    return false;
                }
                self.at_line += 1;
                self.position += 1;
            } else if byte.is_ascii_whitespace() {
                self.position += 1;
            } else if byte == b'/' && self.byte(self.position + 1) == b'/' {
                while self.position < self.text.len() && self.byte(self.position) != b'\n' {
                    self.position += 1;
                }
            } else if byte == b'/' && self.byte(self.position + 1) == b'*' {
                self.position += 2;
                while self.position < self.text.len() && !(self.byte(self.position) == b'*' && self.byte(self.position + 1) == b'/') {
                    self.at_line += u32::from(self.byte(self.position) == b'\n');
                    self.position += 1;
                }
                self.position = (self.position + 2).min(self.text.len());
            } else {
                return true;
            }
        }
    }

    fn token(&mut self) -> Result<Token<'a>, ParseError> {
        self.line = self.at_line;
        let start = self.position;
        if start >= self.text.len() {
            return Ok(Token::End);
        }
        let first = self.byte(start);
        if is_word(first) {
            loop {
                if is_word(self.byte(self.position)) {
                    self.position += 1;
                } else if self.byte(self.position) == b':' && self.byte(self.position + 1) == b':' {
                    self.position += 2;
                } else {
                    break;
                }
            }
            return Ok(Token::Word(&self.text[start..self.position]));
        }
        if first == b'"' {
            let rest = &self.text[start + 1..];
            let end = rest.find('"').ok_or_else(|| syntax(self.at_line, "text without a closing quote"))?;
            self.at_line += u32::try_from(rest[..end].matches('\n').count()).unwrap_or(0);
            self.position = start + end + 2;
            return Ok(Token::Text(&rest[..end]));
        }
        if !first.is_ascii() {
            return Err(syntax(self.at_line, "a character that is not ASCII"));
        }
        self.position += 1;
        Ok(Token::Punct(first))
    }

    /// Takes the next token.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, ParseError> {
        self.skip_blank(false);
        self.token()
    }

    /// Looks at the next token without taking it.
    pub(crate) fn peek(&mut self) -> Result<Token<'a>, ParseError> {
        self.skip_blank(false);
        let before = (self.position, self.at_line, self.line);
        let token = self.token();
        (self.position, self.at_line, self.line) = before;
        token
    }

    /// Takes the next token if it is on the current line.
    pub(crate) fn next_on_line(&mut self) -> Result<Option<Token<'a>>, ParseError> {
        if !self.skip_blank(true) || self.position >= self.text.len() {
            return Ok(None);
        }
        self.token().map(Some)
    }

    /// Takes the rest of the line.
    pub(crate) fn skip_line(&mut self) -> Result<(), ParseError> {
        while self.next_on_line()?.is_some() {}
        Ok(())
    }

    /// Takes the next token if it is the character `wanted`.
    pub(crate) fn eat(&mut self, wanted: u8) -> Result<bool, ParseError> {
        let found = self.peek()? == Token::Punct(wanted);
        if found {
            self.next()?;
        }
        Ok(found)
    }

    /// Takes the character `wanted`, or fails.
    pub(crate) fn expect(&mut self, wanted: u8) -> Result<(), ParseError> {
        match self.next()? {
            Token::Punct(c) if c == wanted => Ok(()),
            other => Err(syntax(self.line(), format!("`{}` expected, found {other:?}", char::from(wanted)))),
        }
    }

    /// Takes a word, or fails.
    pub(crate) fn word(&mut self) -> Result<&'a str, ParseError> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(syntax(self.line(), format!("a word expected, found {other:?}"))),
        }
    }

    /// Takes an unsigned decimal number, or fails.
    pub(crate) fn number(&mut self) -> Result<u32, ParseError> {
        let word = self.word()?;
        word.parse()
            .map_err(|_| syntax(self.line(), format!("a number expected, found `{word}`")))
    }

    /// Skips to the closing brace that matches an opening one already taken.
    pub(crate) fn skip_braces(&mut self) -> Result<(), ParseError> {
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                Token::Punct(b'{') => depth += 1,
                Token::Punct(b'}') => depth -= 1,
                Token::End => return Err(syntax(self.line(), "a brace is not closed")),
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}
