//! The body of a kernel: scopes, registers, variables, labels and instructions.

use std::collections::HashMap;
use std::sync::Arc;

use super::lexer::{Lexer, Token};
use super::module::{Variable, variable};
use super::operand::{RawOperand, operand};
use super::{error, syntax};
use crate::error::{ParseError, ParseErrorKind, SourceLine};
use crate::types::{Space, Type};

/// A parameter of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Param {
    pub name: String,
    pub offset: usize,
    pub bytes: usize,
}

/// A `{ ... }` block; names in it hide those further out.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    pub parent: Option<usize>,
    pub registers: HashMap<String, Type>,
    pub variables: HashMap<&'a str, Variable>,
    /// Index of the instruction that follows the label.
    pub labels: HashMap<&'a str, u32>,
    /// Label lists of `.branchtargets`.
    pub targets: HashMap<&'a str, Vec<&'a str>>,
}

/// Where an instruction came from: line of the PTX, index of the `.file`, line in it (0 where unknown).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    pub ptx_line: u32,
    pub file: u32,
    pub line: u32,
    /// Line of the call, in an inlined function.
    pub caller: Option<u32>,
}

/// Names of source files by the numbers that `.loc` uses.
pub(crate) type Files = HashMap<u32, Arc<str>>;

impl Origin {
    /// The line of the CUDA source, where known.
    pub(crate) fn source_line(&self, files: &Files) -> Option<SourceLine> {
        let file = files.get(&self.file).filter(|_| self.line > 0)?;
        Some(SourceLine {
            file: Arc::clone(file),
            line: self.line,
            caller: self.caller,
        })
    }
}

/// An instruction whose names are not resolved yet.
#[derive(Debug)]
pub(crate) struct RawInstruction<'a> {
    pub scope: usize,
    /// Name of the guard predicate and whether it is negated.
    pub guard: Option<(&'a str, bool)>,
    pub opcode: &'a str,
    pub operands: Vec<RawOperand<'a>>,
    pub origin: Origin,
}

/// A parsed body.
#[derive(Debug, Default)]
pub(crate) struct Body<'a> {
    pub scopes: Vec<Scope<'a>>,
    pub instructions: Vec<RawInstruction<'a>>,
}

impl<'a> Body<'a> {
    /// Follows `scope` outwards until `find` answers.
    pub(crate) fn lookup<T>(&self, scope: usize, find: impl Fn(&Scope<'a>) -> Option<T>) -> Option<(usize, T)> {
        let mut at = Some(scope);
        while let Some(index) = at {
            let scope = self.scopes.get(index)?;
            if let Some(found) = find(scope) {
                return Some((index, found));
            }
            at = scope.parent;
        }
        None
    }
}

/// What is said of a call.
pub(crate) const CALL: &str = "a call of a device function; mark it `__forceinline__`";

struct Parser<'a, 'b> {
    lexer: &'b mut Lexer<'a>,
    body: Body<'a>,
    current: usize,
    /// What the last `.loc` said.
    origin: Origin,
}

/// Parses a body whose opening brace was taken.
pub(crate) fn parse_body<'a>(lexer: &mut Lexer<'a>, files: &Files) -> Result<Body<'a>, ParseError> {
    let mut parser = Parser {
        lexer,
        body: Body {
            scopes: vec![Scope::default()],
            instructions: Vec::new(),
        },
        current: 0,
        origin: Origin::default(),
    };
    loop {
        match parser.statement() {
            Ok(true) => {}
            Ok(false) => return Ok(parser.body),
            Err(error) => {
                return Err(ParseError {
                    source_line: parser.origin.source_line(files),
                    ..error
                });
            }
        }
    }
}

impl<'a> Parser<'a, '_> {
    fn scope(&mut self) -> &mut Scope<'a> {
        &mut self.body.scopes[self.current]
    }

    /// Takes one statement; false at the end of the body.
    fn statement(&mut self) -> Result<bool, ParseError> {
        match self.lexer.next()? {
            Token::Punct(b'{') => {
                self.body.scopes.push(Scope {
                    parent: Some(self.current),
                    ..Scope::default()
                });
                self.current = self.body.scopes.len() - 1;
            }
            Token::Punct(b'}') => match self.scope().parent {
                Some(parent) => self.current = parent,
                None => return Ok(false),
            },
            Token::Punct(b';') => {}
            Token::Punct(b'@') => {
                let negated = self.lexer.eat(b'!')?;
                let name = self.lexer.word()?;
                let opcode = self.lexer.word()?;
                self.instruction(opcode, Some((name, negated)))?;
            }
            Token::Word(word) if word.starts_with('.') => self.directive(word)?,
            Token::Word(word) => {
                if self.lexer.eat(b':')? {
                    self.label(word)?;
                } else {
                    self.instruction(word, None)?;
                }
            }
            other => return Err(syntax(self.lexer.line(), format!("a statement expected, found {other:?}"))),
        }
        Ok(true)
    }

    fn label(&mut self, name: &'a str) -> Result<(), ParseError> {
        if self.lexer.peek()? == Token::Word(".branchtargets") {
            self.lexer.next()?;
            let mut targets = Vec::new();
            loop {
                targets.push(self.lexer.word()?);
                if !self.lexer.eat(b',')? {
                    break;
                }
            }
            self.lexer.expect(b';')?;
            self.scope().targets.insert(name, targets);
            return Ok(());
        }
        let at = u32::try_from(self.body.instructions.len()).map_err(|_| syntax(self.lexer.line(), "too many instructions"))?;
        self.scope().labels.insert(name, at);
        Ok(())
    }

    fn directive(&mut self, word: &'a str) -> Result<(), ParseError> {
        let line = self.lexer.line();
        match word {
            ".loc" => {
                let file = self.lexer.number()?;
                let at = self.lexer.number()?;
                let mut caller = None;
                while let Some(token) = self.lexer.next_on_line()? {
                    if token == Token::Word("inlined_at") {
                        self.lexer.number()?;
                        caller = Some(self.lexer.number()?);
                    }
                }
                if at > 0 {
                    // line 0 means "made by the compiler": the last known line says more
                    self.origin = Origin {
                        ptx_line: 0,
                        file,
                        line: at,
                        caller,
                    };
                }
                Ok(())
            }
            ".file" => self.lexer.skip_line(),
            ".pragma" => {
                while !self.lexer.eat(b';')? {
                    if self.lexer.next()? == Token::End {
                        return Err(syntax(line, "`.pragma` is not closed"));
                    }
                }
                Ok(())
            }
            ".reg" => self.registers(),
            ".shared" | ".local" => {
                let space = if word == ".shared" { Space::Shared } else { Space::Local };
                let variable = variable(self.lexer, space, false)?;
                let name = variable.name;
                self.scope().variables.insert(name, variable.value);
                Ok(())
            }
            // only calls declare parameters in a body
            ".param" => Err(error(line, ParseErrorKind::Unsupported(CALL.to_owned()))),
            other => Err(error(line, ParseErrorKind::Unsupported(format!("directive `{other}` in a kernel")))),
        }
    }

    fn registers(&mut self) -> Result<(), ParseError> {
        let word = self.lexer.word()?;
        let line = self.lexer.line();
        let unsupported = || error(line, ParseErrorKind::Unsupported(format!("registers of type `{word}`")));
        let ty = word.strip_prefix('.').and_then(Type::parse).ok_or_else(unsupported)?;
        loop {
            let name = self.lexer.word()?;
            if self.lexer.eat(b'<')? {
                let count = self.lexer.number()?;
                self.lexer.expect(b'>')?;
                if count > 1 << 20 {
                    return Err(syntax(line, format!("{count} registers")));
                }
                for index in 0..count {
                    self.scope().registers.insert(format!("{name}{index}"), ty);
                }
            } else {
                self.scope().registers.insert(name.to_owned(), ty);
            }
            if !self.lexer.eat(b',')? {
                break;
            }
        }
        self.lexer.expect(b';')
    }

    fn instruction(&mut self, opcode: &'a str, guard: Option<(&'a str, bool)>) -> Result<(), ParseError> {
        let origin = Origin {
            ptx_line: self.lexer.line(),
            ..self.origin
        };
        let mut operands = Vec::new();
        if !self.lexer.eat(b';')? {
            loop {
                operands.push(operand(self.lexer)?);
                if !self.lexer.eat(b',')? {
                    break;
                }
            }
            self.lexer.expect(b';')?;
        }
        self.body.instructions.push(RawInstruction {
            scope: self.current,
            guard,
            opcode,
            operands,
            origin,
        });
        Ok(())
    }
}
