//! The outside of a PTX module: files, variables, kernels.

use std::collections::HashMap;
use std::sync::Arc;

use super::body::{Body, Files, Param, parse_body};
use super::lexer::{Lexer, Token};
use super::operand::{literal, signed_literal};
use super::{error, syntax};
use crate::error::{ParseError, ParseErrorKind};
use crate::types::{Space, Type};

/// A variable in shared, local, global or constant memory.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub space: Space,
    pub align: usize,
    pub bytes: usize,
    /// `.extern .shared name[]`: as long as the launch says.
    pub dynamic: bool,
    /// Initial bytes; zeros where none are given (module-level variables).
    pub initial: Option<Vec<u8>>,
}

/// A variable with its name.
pub(crate) struct NamedVariable<'a> {
    pub name: &'a str,
    pub value: Variable,
}

/// A kernel as parsed.
pub(crate) struct EntrySource<'a> {
    pub name: &'a str,
    pub params: Vec<Param>,
    pub param_bytes: usize,
    pub max_threads: Option<u32>,
    pub body: Body<'a>,
}

/// A module as parsed.
#[derive(Default)]
pub(crate) struct ModuleSource<'a> {
    pub files: Files,
    pub variables: HashMap<&'a str, Variable>,
    /// Names of module-level `.global` and `.const` variables in the order of the text.
    pub order: Vec<&'a str>,
    pub entries: Vec<EntrySource<'a>>,
}

/// Parses a whole module.
pub(crate) fn parse_module(text: &str) -> Result<ModuleSource<'_>, ParseError> {
    let mut lexer = Lexer::new(text);
    let mut module = ModuleSource {
        files: files(text),
        ..ModuleSource::default()
    };
    loop {
        match lexer.next()? {
            Token::End => return Ok(module),
            Token::Punct(b';') => {}
            Token::Word(".version" | ".target" | ".address_size") => lexer.skip_line()?,
            Token::Word(".loc" | ".file") => lexer.skip_line()?,
            Token::Word(".section") => {
                while lexer.next()? != Token::Punct(b'{') {
                    if lexer.peek()? == Token::End {
                        return Err(syntax(lexer.line(), "`.section` has no body"));
                    }
                }
                lexer.skip_braces()?;
            }
            Token::Word(word) => top_level(&mut lexer, &mut module, word)?,
            other => return Err(syntax(lexer.line(), format!("a directive expected, found {other:?}"))),
        }
    }
}

/// The `.file` directives, which come after the code that refers to them.
fn files(text: &str) -> Files {
    let parse = |line: &str| {
        let (index, rest) = line.trim().strip_prefix(".file")?.trim_start().split_once(char::is_whitespace)?;
        let name = rest.split('"').nth(1)?;
        Some((index.parse().ok()?, Arc::from(name)))
    };
    text.lines().filter_map(parse).collect()
}

fn top_level<'a>(lexer: &mut Lexer<'a>, module: &mut ModuleSource<'a>, first: &'a str) -> Result<(), ParseError> {
    let mut word = first;
    let mut external = false;
    loop {
        match word {
            ".visible" | ".weak" | ".common" => {}
            ".extern" => external = true,
            ".entry" => {
                let entry = entry(lexer, &module.files)?;
                module.entries.push(entry);
                return Ok(());
            }
            ".func" => return skip_function(lexer),
            ".global" | ".const" | ".shared" => {
                let space = match word {
                    ".global" => Space::Global,
                    ".const" => Space::Const,
                    _ => Space::Shared,
                };
                let line = lexer.line();
                if external && space != Space::Shared {
                    return Err(error(
                        line,
                        ParseErrorKind::Unsupported("`.extern` variables outside shared memory".to_owned()),
                    ));
                }
                let variable = variable(lexer, space, external)?;
                if space != Space::Shared {
                    module.order.push(variable.name);
                }
                module.variables.insert(variable.name, variable.value);
                return Ok(());
            }
            other => {
                return Err(error(
                    lexer.line(),
                    ParseErrorKind::Unsupported(format!("`{other}` at module level")),
                ));
            }
        }
        word = lexer.word()?;
    }
}

/// Skips a device function; only a call of it would be an error.
fn skip_function(lexer: &mut Lexer<'_>) -> Result<(), ParseError> {
    loop {
        match lexer.next()? {
            Token::Punct(b';') => return Ok(()),
            Token::Punct(b'{') => return lexer.skip_braces(),
            Token::End => return Err(syntax(lexer.line(), "`.func` has no end")),
            _ => {}
        }
    }
}

fn entry<'a>(lexer: &mut Lexer<'a>, files: &Files) -> Result<EntrySource<'a>, ParseError> {
    let name = lexer.word()?;
    let mut params = Vec::new();
    let mut max_threads = None;
    let mut end = 0_usize;
    if lexer.eat(b'(')? {
        while !lexer.eat(b')')? {
            if lexer.word()? != ".param" {
                return Err(syntax(lexer.line(), "`.param` expected"));
            }
            let Shape { name, align, bytes, .. } = shape(lexer)?;
            let offset = end.next_multiple_of(align);
            end = offset.checked_add(bytes).ok_or_else(|| syntax(lexer.line(), "parameter size"))?;
            params.push(Param {
                name: name.to_owned(),
                offset,
                bytes,
            });
            lexer.eat(b',')?;
        }
    }
    loop {
        match lexer.next()? {
            Token::Punct(b'{') => break,
            Token::Punct(b';') => {
                return Err(error(
                    lexer.line(),
                    ParseErrorKind::Unsupported("a kernel without a body".to_owned()),
                ));
            }
            Token::Word(".maxntid" | ".reqntid") => {
                let mut threads = lexer.number()?;
                while lexer.eat(b',')? {
                    threads = threads.saturating_mul(lexer.number()?);
                }
                max_threads = Some(threads);
            }
            Token::Word(word @ (".reqnctapercluster" | ".explicitcluster")) => {
                return Err(error(
                    lexer.line(),
                    ParseErrorKind::Unsupported(format!("`{word}`: thread block clusters")),
                ));
            }
            Token::End => return Err(syntax(lexer.line(), "a kernel has no body")),
            _ => {} // .minnctapersm and the like: hints
        }
    }
    Ok(EntrySource {
        name,
        params,
        param_bytes: end,
        max_threads,
        body: parse_body(lexer, files)?,
    })
}

struct Shape<'a> {
    name: &'a str,
    ty: Type,
    align: usize,
    bytes: usize,
    open: bool,
}

/// Takes `.align n .type name[count]...`.
fn shape<'a>(lexer: &mut Lexer<'a>) -> Result<Shape<'a>, ParseError> {
    let (mut align, mut ty) = (None, None);
    let name = loop {
        let word = lexer.word()?;
        let line = lexer.line();
        if word == ".align" {
            align = usize::try_from(lexer.number()?).ok();
        } else if matches!(word, ".ptr" | ".global" | ".const" | ".shared" | ".local") {
            // attributes of a pointer parameter
        } else if let Some(rest) = word.strip_prefix('.') {
            ty = Some(Type::parse(rest).ok_or_else(|| error(line, ParseErrorKind::Unsupported(format!("`.{rest}` of a variable"))))?);
        } else {
            break word;
        }
    };
    let line = lexer.line();
    let ty = ty.ok_or_else(|| syntax(line, format!("`{name}` has no type")))?;
    let (mut count, mut open) = (1_usize, false);
    while lexer.eat(b'[')? {
        if lexer.eat(b']')? {
            open = true;
            continue;
        }
        let word = lexer.word()?;
        let number = literal(word).and_then(|n| usize::try_from(n).ok());
        count = number
            .and_then(|n| count.checked_mul(n))
            .ok_or_else(|| syntax(line, format!("size of `{name}`")))?;
        lexer.expect(b']')?;
    }
    let bytes = count
        .checked_mul(ty.size())
        .filter(|n| *n <= 1 << 32)
        .ok_or_else(|| syntax(line, format!("size of `{name}`")))?;
    let align = align.unwrap_or(ty.size());
    if !align.is_power_of_two() {
        return Err(syntax(line, format!("alignment of `{name}`")));
    }
    Ok(Shape {
        name,
        ty,
        align,
        bytes: if open { 0 } else { bytes },
        open,
    })
}

/// Takes a variable after its state space, with the closing semicolon.
pub(crate) fn variable<'a>(lexer: &mut Lexer<'a>, space: Space, external: bool) -> Result<NamedVariable<'a>, ParseError> {
    let Shape {
        name,
        ty,
        align,
        mut bytes,
        open,
    } = shape(lexer)?;
    let mut initial = None;
    if lexer.eat(b'=')? {
        let mut data = Vec::new();
        initializer(lexer, ty, &mut data)?;
        if open {
            bytes = data.len();
        }
        if data.len() > bytes {
            return Err(syntax(lexer.line(), format!("too many initial values for `{name}`")));
        }
        data.resize(bytes, 0);
        initial = Some(data);
    }
    lexer.expect(b';')?;
    let dynamic = open && external;
    Ok(NamedVariable {
        name,
        value: Variable {
            space,
            align,
            bytes,
            dynamic,
            initial,
        },
    })
}

fn initializer(lexer: &mut Lexer<'_>, ty: Type, data: &mut Vec<u8>) -> Result<(), ParseError> {
    if lexer.eat(b'{')? {
        while !lexer.eat(b'}')? {
            initializer(lexer, ty, data)?;
            lexer.eat(b',')?;
        }
        return Ok(());
    }
    if let Token::Word(word) = lexer.peek()?
        && literal(word).is_none()
    {
        return Err(error(
            lexer.line(),
            ParseErrorKind::Unsupported(format!("initial value `{word}`: only numbers")),
        ));
    }
    let value = signed_literal(lexer)?;
    data.extend_from_slice(&value.to_le_bytes()[..ty.size()]);
    Ok(())
}
