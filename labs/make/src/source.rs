//! What a source may not say, because of what it would do to others than itself.
//!
//! Nothing of this judges how a file is written: that is for what it does. A macro of the file would take the place of
//! those that the harness uses; a file that is taken in is shown by the compiler in its errors; and what is built
//! otherwise while orders are tried, or with locks that the model checker does not know, is not what runs.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Why a source is not built: what it says, and why it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub word: &'static str,
    pub why: &'static str,
}

const OTHER_FILES: &str = "an exercise is one file";
const MACROS: &str = "a macro of yours would take the place of those that the harness uses";
const CONDITIONS: &str = "what is judged in all orders must be what runs";
const LOCKS: &str = "the judge sees only those of exercise_kit::sync, which are the standard library's when it runs for real";

/// The first thing that is unfit. What is no Rust at all is left to the compiler.
pub(crate) fn unfit(source: &str, orders: bool) -> Option<Unfit> {
    let tokens = TokenStream::from_str(source).ok()?;
    look(tokens, orders)
}

fn look(tokens: TokenStream, orders: bool) -> Option<Unfit> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (i, token) in tokens.iter().enumerate() {
        let found = match token {
            TokenTree::Ident(ident) => word(&ident.to_string(), &tokens[i + 1..], orders),
            TokenTree::Group(group) => {
                let is_attribute = group.delimiter() == Delimiter::Bracket
                    && tokens[..i].iter().rev().take(2).any(|before| is_punct(before, '#'));
                let takes_in = is_attribute && names(group.stream(), "path");
                let path = Unfit { word: "#[path]", why: OTHER_FILES };
                takes_in.then_some(path).or_else(|| look(group.stream(), orders))
            }
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn word(ident: &str, after: &[TokenTree], orders: bool) -> Option<Unfit> {
    let ident = ident.strip_prefix("r#").unwrap_or(ident);
    let words = [
        ("include", OTHER_FILES),
        ("include_str", OTHER_FILES),
        ("include_bytes", OTHER_FILES),
        ("macro_rules", MACROS),
    ];
    let of_orders = [("cfg", CONDITIONS), ("cfg_attr", CONDITIONS)];
    let of_orders = of_orders.into_iter().filter(|_| orders);
    let known = words.into_iter().chain(of_orders).find(|(word, _)| *word == ident);
    if let Some((word, why)) = known {
        return Some(Unfit { word, why });
    }
    if !orders || !["std", "core"].contains(&ident) {
        return None;
    }
    // `std::sync`, or `std::{…, sync::…}`.
    let [colon, _, next, ..] = after else { return None };
    let is_sync = match next {
        TokenTree::Ident(ident) => ident == "sync",
        TokenTree::Group(group) => names(group.stream(), "sync"),
        _ => false,
    };
    (is_punct(colon, ':') && is_sync).then_some(Unfit { word: "std::sync", why: LOCKS })
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

/// Whether a word is anywhere in these tokens.
fn names(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => names(group.stream(), word),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(source: &str) -> Option<&'static str> {
        unfit(source, true).map(|unfit| unfit.word)
    }

    #[test]
    fn what_would_reach_others_is_found_wherever_it_is() {
        assert_eq!(said("fn f() { let x = include_str!(\"a\"); }"), Some("include_str"));
        assert_eq!(said("use std::include_bytes as x;"), Some("include_bytes"));
        assert_eq!(said("#[macro_export] macro_rules! assert { () => {} }"), Some("macro_rules"));
        assert_eq!(said("#[path = \"/x\"] mod other;"), Some("#[path]"));
        assert_eq!(said("#![cfg_attr(all(), path = \"x\")]"), Some("#[path]"));
        assert_eq!(said("fn f() { if cfg!(feature = \"x\") {} }"), Some("cfg"));
        assert_eq!(said("use std::sync::Mutex;"), Some("std::sync"));
        assert_eq!(said("use std::{mem, sync::{Arc, Mutex}};"), Some("std::sync"));
        assert_eq!(said("fn f() { ::core::sync::atomic::fence(x) }"), Some("std::sync"));
    }

    #[test]
    fn words_in_texts_and_names_are_fine() {
        for source in [
            "// include_str!(\"x\") and #[path] and std::sync",
            "fn f() { let path = \"include!\"; println!(\"{path}\"); }",
            "use std::{mem, collections::HashMap}; use exercise_kit::sync::Mutex;",
            "fn f(v: &[u8]) -> u8 { v[path(0)] }",
            "this is no Rust '",
        ] {
            assert_eq!(said(source), None, "{source}");
        }
        let elsewhere = "use std::sync::Arc; #[cfg(test)] mod tests {}";
        assert_eq!(unfit(elsewhere, false), None);
    }
}
