//! `labs new`: a lab to fill in.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use clap::{CommandFactory, FromArgMatches, Parser};
use lab_kit::cli::{Extra, Failed, print};

/// `labs new`.
pub const NEW: Extra = Extra {
    command: New::command,
    run: |matches| {
        let new = New::from_arg_matches(matches).map_err(|e| Failed::Usage(e.to_string()))?;
        new.run()
    },
};

/// Writes a lab to fill in: two ways, one law, one question, one answer, one test
///
/// It runs as it is, and is in the syllabus. Works from any folder of a clone.
#[derive(Parser)]
#[command(name = "new")]
struct New {
    /// Its name, in words of small letters with underscores: two_ways_to_wait
    name: String,
    /// Its title [default: the name as words]
    #[arg(long)]
    title: Option<String>,
    /// The question it asks
    #[arg(long, default_value = "Do waits add up?")]
    question: String,
    /// Its number [default: the one after the last]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=99))]
    number: Option<u8>,
}

/// The files of a lab, by their place in it.
const FILES: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("../new/Cargo.toml.txt")),
    ("answers.md", include_str!("../new/answers.md.txt")),
    ("src/main.rs", include_str!("../new/main.rs.txt")),
    ("src/lib.rs", include_str!("../new/lib.rs.txt")),
    ("src/plan.rs", include_str!("../new/plan.rs.txt")),
    ("src/findings.rs", include_str!("../new/findings.rs.txt")),
];

impl New {
    fn run(self) -> Result<(), Failed> {
        let root = clone()?;
        let there = labs_in(&root)?;
        let last = there.iter().map(|(number, _)| *number).max();
        let number = self.number.unwrap_or(last.unwrap_or(0) + 1);
        let lab = Named::new(number, &self.name, self.title, self.question)
            .map_err(|why| Failed::Usage(format!("{why}")))?;
        if let Some((taken, name)) =
            there.iter().find(|(taken, name)| *taken == number || *name == lab.name)
        {
            return Err(Failed::Usage(format!("lab{taken:02} {name} is there already")));
        }
        let folder = root.join("labs").join(format!("{}_{}", lab.id, lab.name));
        let lists = lab.lists(&root)?;
        let files = FILES.map(|(name, text)| (folder.join(name), lab.fill(text)));
        written(&folder, files.into_iter().chain(lists).collect())?;
        // Long names break lines, and the lock file lists the labs. Without these tools all is as sound, and
        // the next build does the second.
        for words in [&["fmt", "-p", lab.id.as_str()][..], &["update", "--workspace", "--offline"]]
        {
            drop(Command::new("cargo").args(words).current_dir(&root).output());
        }
        Ok(print(lab.next(&folder))?)
    }
}

/// Number and name of every lab of a clone, by its folders: this program may be older than they are.
fn labs_in(root: &Path) -> anyhow::Result<Vec<(u8, String)>> {
    let folder = root.join("labs");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let lab = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let (number, name) = name.strip_prefix("lab")?.split_once('_')?;
        Some((number.parse().ok()?, name.to_string()))
    };
    Ok(entries.filter_map(Result::ok).filter_map(lab).collect())
}

/// Writes all of it, or leaves everything as it was.
fn written(folder: &Path, files: Vec<(PathBuf, String)>) -> anyhow::Result<()> {
    let before: Vec<_> = files.iter().map(|(path, _)| fs::read(path).ok()).collect();
    let write = || {
        fs::create_dir_all(folder.join("src"))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        files.iter().try_for_each(|(path, text)| {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        })
    };
    write().inspect_err(|_| {
        for ((path, _), before) in files.iter().zip(&before) {
            let Some(before) = before else { continue };
            let _ = fs::write(path, before);
        }
        let _ = fs::remove_dir_all(folder);
    })
}

/// The folder of the clone that the command is run in.
fn clone() -> anyhow::Result<PathBuf> {
    let here = env::current_dir().context("cannot tell the current folder")?;
    let is_clone = |folder: &&Path| folder.join("labs/new/Cargo.toml.txt").is_file();
    let root = here.ancestors().find(is_clone);
    let root = root.context(
        "not in a clone: a lab is source code; go to the folder with README.md and labs/",
    )?;
    Ok(root.to_path_buf())
}

/// A lab as its files name it.
struct Named {
    id: String,
    number: u8,
    name: String,
    title: String,
    question: String,
    /// Of its type.
    type_name: String,
}

impl Named {
    fn new(
        number: u8,
        name: &str,
        title: Option<String>,
        question: String,
    ) -> anyhow::Result<Named> {
        let word = |w: &str| w.starts_with(|c: char| c.is_ascii_lowercase());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        ensure!(
            name.len() <= 40 && name.chars().all(plain) && name.split('_').all(word),
            "\"{name}\" is no name of a lab: up to 40 small letters, with underscores between words"
        );
        let capital = |w: &str| w[..1].to_uppercase() + &w[1..];
        let words = capital(&name.replace('_', " "));
        let title = title.unwrap_or(words);
        for text in [&title, &question] {
            let plain = |c: char| {
                c.is_ascii_graphic() && !"\"\\{}@".contains(c) || c == ' ' || c.is_alphabetic()
            };
            ensure!(
                !text.trim().is_empty() && text.len() <= 200 && text.chars().all(plain),
                "\"{text}\" cannot be a title or a question: up to 200 letters and signs, none of them a quote, a brace or a backslash"
            );
        }
        Ok(Named {
            id: format!("lab{number:02}"),
            number,
            name: name.into(),
            title,
            question,
            // With a word of its own at the end it is no name that the kit has already.
            type_name: name.split('_').map(capital).collect::<String>() + "Lab",
        })
    }

    fn fill(&self, text: &str) -> String {
        let values = [
            ("@ID@", &self.id),
            ("@NAME@", &self.name),
            ("@TITLE@", &self.title),
            ("@QUESTION@", &self.question),
            ("@TYPE@", &self.type_name),
            ("@NUMBER@", &self.number.to_string()),
        ];
        values.iter().fold(text.into(), |text: String, (key, value)| text.replace(key, value))
    }

    /// The three lists that name every lab, with this one put in after the one before it.
    fn lists(&self, root: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let Named { id, name, type_name, .. } = self;
        let lines = [
            ("Cargo.toml", format!("{id} = {{ path = \"labs/{id}_{name}\" }}")),
            ("labs/Cargo.toml", format!("{id}.workspace = true")),
            ("labs/src/lib.rs", format!("    entry::<{id}::{type_name}>(),")),
        ];
        let put = |(file, line): (&str, String)| {
            let path = root.join(file);
            let text = fs::read_to_string(&path);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            let text = inserted(&text, &line, id);
            Ok((path, text.with_context(|| format!("{file} has no list of the labs any more"))?))
        };
        lines.into_iter().map(put).collect()
    }

    fn next(&self, folder: &Path) -> String {
        let (run, test) =
            (format!("cargo run --release -p {}", self.id), format!("cargo test -p {}", self.id));
        let again = format!("cargo run --release -- run {}", self.number);
        format!(
            "{} written, and listed in Cargo.toml, labs/Cargo.toml and labs/src/lib.rs.\n\n\
             {run:<40}# runs it\n\
             {test:<40}# tests it\n\
             {again:<40}# the same from the umbrella\n\n\
             Then fill in, in this order:\n\
             src/lib.rs       the lesson, the wrong way and the right way\n\
             src/plan.rs      its flags, which conditions there are, how long they take\n\
             src/findings.rs  what theory says: a claim, a chart, a table, an answer to the question\n\
             answers.md       the answers to \"Check yourself\"\n\
             (src/gauges.rs and src/premise.rs, once it needs them: README.md, \"Adding a lab\")\n\n\
             Before it is committed, with Cargo.lock:\n\
             cargo test -p lab_book\n\
             cargo run --release -- splice README.md results/reference\n\
             cargo run --release -- book results/reference --out results/reference/book\n",
            folder.display()
        )
    }
}

/// The text with a line put in after the last of those that begin as it does and name a lab before this one.
fn inserted(text: &str, line: &str, id: &str) -> Option<String> {
    let (head, _) = line.split_once(id)?;
    let names = |l: &&str| {
        let named = l.strip_prefix(head).and_then(|rest| rest.get(..id.len()));
        named.is_some_and(|n| {
            n.starts_with("lab") && n[3..].bytes().all(|b| b.is_ascii_digit()) && n < id
        })
    };
    let last = text.lines().rev().find(names)?;
    Some(text.replacen(last, &format!("{last}\n{line}"), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_after_the_lab_before() {
        let text = "[x]\nlab01 = 1\nlab03 = 3\nlabel = 2\n";
        let with = |id| inserted(text, &format!("{id} = new"), id).unwrap();
        assert_eq!(with("lab02"), "[x]\nlab01 = 1\nlab02 = new\nlab03 = 3\nlabel = 2\n");
        assert_eq!(with("lab20"), "[x]\nlab01 = 1\nlab03 = 3\nlab20 = new\nlabel = 2\n");
        assert_eq!(inserted("nothing", "lab20 = new", "lab20"), None);
    }

    #[test]
    fn what_cannot_be_a_name_or_a_title_is_refused() {
        let named =
            |name: &str, title: &str| Named::new(20, name, Some(title.into()), "Why?".into());
        assert_eq!(named("two_ways", "Two ways").unwrap().type_name, "TwoWaysLab");
        for name in ["", "Two", "two-ways", "two__ways", "_two", "2ways", "../x", "zwei_wäge"] {
            assert!(named(name, "A title").is_err(), "{name}");
        }
        for title in ["", "a \"quote\"", "a {flag}", "a\nline", "back\\slash", "a\u{202e}b"] {
            assert!(named("two", title).is_err(), "{title}");
        }
    }

    #[test]
    fn every_file_has_all_its_places_filled() {
        let lab = Named::new(20, "two_ways", None, "Why?".into()).unwrap();
        for (name, text) in FILES {
            let filled = lab.fill(text);
            assert!(!filled.contains('@'), "{name}: {filled}");
        }
    }
}
