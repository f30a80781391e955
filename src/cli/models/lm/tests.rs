use clap::Parser;

use super::eval::distance;
use super::*;
use crate::cli::models::ModelsCommand;
use crate::model::lm::text::words;
use crate::model::manifest::Head;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: ModelsCommand,
}

/// `hark models lm` with these arguments, models in `folder`.
fn lm(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let whole = ["hark", "lm"].iter().chain(arguments).chain(&["--models-dir"]);
    let line = Line::parse_from(whole.map(std::ffi::OsStr::new).chain([folder.as_os_str()]));
    let mut out = Vec::new();
    super::super::run(line.command, &mut out)?;
    Ok(String::from_utf8(out)?)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_language_model_of_the_domain_lowers_the_word_error_there() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sentences, mut list) = (String::new(), String::new());
    for name in ["call-2", "call-3"] {
        let said = std::fs::read_to_string(root().join(format!("samples/{name}.txt"))).unwrap();
        sentences += &format!("{}\n", said.trim());
        list += &format!("{}\t{}\n\n", root().join(format!("samples/{name}.wav")).display(), said.trim());
    }
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (sentences, list) = (put("calls.txt", &sentences), put("list.tsv", &list));
    let said = lm(folder.path(), &["build", "calls", &sentences, "--held-out", &sentences]).unwrap();
    assert!(
        said.contains("2 sentences, ") && said.contains(" 0 of ") && said.contains("calls.lm: "),
        "{said}"
    );

    let model = root().join("models/hark-starter-en");
    let model = model.to_str().unwrap();
    let said = lm(folder.path(), &["eval", "calls", &list, "--model", model]).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let errors = |line: &str, name: &str| -> u32 {
        let rest = line.strip_prefix(name).unwrap_or_else(|| panic!("{said}"));
        rest.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert!(
        lines[0].starts_with("LANGUAGE MODEL") && lines[4].ends_with("320 ms a step"),
        "{said}"
    );
    let none = errors(lines[1], "none");
    assert!(errors(lines[2], "the model's own") <= none, "{said}");
    let with = errors(lines[3], "calls");
    assert!(with < none, "{said}");
    assert!(
        lines[5].starts_with(&format!("calls against none: {with} errors for {none}, ")),
        "{said}"
    );

    for (arguments, wanted) in [
        (["eval", "other", &list, "--model", model], "the language model cannot be used"),
        (["eval", "../calls", &list, "--model", model], "the language model cannot be used"),
        (
            ["eval", "calls", &sentences, "--model", model],
            "is no list of recordings: line 1 is not AUDIO<TAB>TEXT",
        ),
        (["eval", "calls", &list, "--weight", "101"], "models.lm_weight"),
        (["build", "a/b", &sentences, "--order", "3"], "is no name of a model"),
        (["build", "calls", &sentences, "--order", "6"], "order 6 is not between 1 and 5"),
        (["build", "calls", "none.txt", "--order", "3"], "none.txt cannot be opened"),
    ] {
        let error = format!("{:#}", lm(folder.path(), &arguments).unwrap_err());
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
}

#[test]
fn arpa_files_are_known_by_their_first_line_and_can_be_attached() {
    let folder = tempfile::tempdir().unwrap();
    let arpa = folder.path().join("small.txt");
    std::fs::write(&arpa, "\n\\data\\\nngram 1=2\n\n\\1-grams:\n-0.3\tyes\n-0.3\tno\n\n\\end\\\n").unwrap();
    let said = lm(folder.path(), &["build", "small", arpa.to_str().unwrap()]).unwrap();
    assert!(said.contains("small.lm: 2 1-grams; ") && !said.contains("sentences"), "{said}");

    let archive = |model: &str| root().join("tests/fixtures/oracle").join(model).join("model.nemo");
    let import = |model| store::import(&archive(model), folder.path(), Some(model), store::Precision::F32).unwrap();
    for (model, head, width) in [("stream_hybrid", Head::Ctc, 40), ("stream_rnnt", Head::Transducer, 4)] {
        import(model);
        lm(folder.path(), &["attach", "small", model]).unwrap();
        let attached = store::load(&folder.path().join(model)).unwrap();
        assert_eq!(
            std::fs::read(attached.lm.unwrap()).unwrap(),
            std::fs::read(folder.path().join("small.lm")).unwrap()
        );
        let decode = attached.manifest.decode.unwrap();
        assert_eq!((decode.head, decode.lm.unwrap().beam_width), (head, width));
    }
}

#[test]
fn transducers_take_a_language_model() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let audio = root().join("samples/call-2.wav");
    let (sentences, list) = (put("s.txt", "yes\n"), put("list.tsv", &format!("{}\tyes\n", audio.display())));
    lm(folder.path(), &["build", "s", &sentences]).unwrap();
    let model = root().join("tests/fixtures/oracle/stream_rnnt/model.nemo");
    let said = lm(folder.path(), &["eval", "s", &list, "--model", model.to_str().unwrap()]).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[1].starts_with("none") && lines[2].starts_with("s "), "{said}");
    assert!(lines[4].starts_with("s against none: "), "{said}");
}

#[test]
fn errors_are_the_fewest_changes() {
    for (said, heard, wanted) in [
        ("", "", 0),
        ("a b c", "", 3),
        ("", "a b", 2),
        ("a b c d", "a x c d e", 2),
        ("a b c", "b c", 1),
        ("k i t t e n", "s i t t i n g", 3),
    ] {
        let [said, heard] = [said, heard].map(|text| words(text).collect::<Vec<_>>());
        assert_eq!(distance(&said, &heard), wanted, "{said:?} {heard:?}");
    }
}
