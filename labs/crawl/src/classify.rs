//! From words to a category: multinomial naive Bayes, learnt from labelled texts.
//!
//! A text is taken for words drawn one by one, each with a probability that depends on the category
//! alone. Bayes' rule turns that round: the likeliest category is the one with the largest
//! `ln P(category) + Σ ln P(word | category)`. Each `P(word | category)` is estimated as
//! `(n + α) / (N + α·V)`, with n of the category's N words being this one, V different words in all and
//! α = 1 (Laplace): a word that was not seen in a category is unlikely there, not impossible. Words
//! that were seen nowhere say nothing and are left out. (Manning, Raghavan and Schütze,
//! *Introduction to Information Retrieval*, 2008, chapter 13.)
//!
//! It is eighty lines and fast because all it does is add: machine-learning crates that have it
//! (linfa-bayes, smartcore) bring a linear-algebra library each and want a dense matrix of all texts by
//! all words.

use std::collections::{BTreeMap, HashMap};

/// Counts of words by category, to be learnt from.
#[derive(Clone, Debug, Default)]
pub struct Trainer {
    /// Texts and words of each category.
    categories: BTreeMap<String, (u64, HashMap<String, u64>)>,
}

impl Trainer {
    /// Learns that this text is of this category.
    pub fn learn(&mut self, category: &str, text: &str) {
        let (texts, counts) = self.categories.entry(category.into()).or_default();
        *texts += 1;
        words(text, |word| match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                counts.insert(word.into(), 1);
            }
        });
    }

    /// Texts learnt from.
    pub fn texts(&self) -> u64 {
        self.categories.values().map(|(texts, _)| texts).sum()
    }

    /// What was learnt; `None` of nothing. `smoothing` is α, 1 for Laplace's.
    pub fn model(&self, smoothing: f64) -> Option<Model> {
        let texts = self.texts() as f64;
        let mut words: HashMap<String, Box<[f64]>> = HashMap::new();
        let kinds = self.categories.len();
        for (_, counts) in self.categories.values() {
            for word in counts.keys() {
                if !words.contains_key(word) {
                    words.insert(word.clone(), vec![0.0; kinds].into());
                }
            }
        }
        let vocabulary = words.len() as f64;
        for (k, (_, counts)) in self.categories.values().enumerate() {
            let all = counts.values().sum::<u64>() as f64 + smoothing * vocabulary;
            for (word, scores) in &mut words {
                let count = counts.get(word).copied().unwrap_or(0) as f64;
                scores[k] = ((count + smoothing) / all).ln();
            }
        }
        let priors = self.categories.values();
        (texts > 0.0).then(|| Model {
            categories: self.categories.keys().cloned().collect(),
            priors: priors.map(|(n, _)| (*n as f64 / texts).ln()).collect(),
            words,
        })
    }
}

/// What was learnt.
#[derive(Clone, Debug)]
pub struct Model {
    categories: Vec<String>,
    /// ln P(category).
    priors: Vec<f64>,
    /// ln P(word | category), by word.
    words: HashMap<String, Box<[f64]>>,
}

impl Model {
    /// The likeliest category of a text; the first of equals in alphabetical order.
    pub fn classify(&self, text: &str) -> &str {
        let scores = self.scores(text);
        let mut best = 0;
        for (k, score) in scores.iter().enumerate() {
            if *score > scores[best] {
                best = k;
            }
        }
        &self.categories[best]
    }

    /// The categories with ln P(category, words): not normalised.
    pub fn scores(&self, text: &str) -> Vec<f64> {
        let mut scores = self.priors.clone();
        words(text, |word| {
            if let Some(likelihoods) = self.words.get(word) {
                for (score, likelihood) in scores.iter_mut().zip(likelihoods) {
                    *score += likelihood;
                }
            }
        });
        scores
    }

    /// Different words it knows.
    pub fn vocabulary(&self) -> usize {
        self.words.len()
    }
}

/// The words of a text in lower case; a lone letter or digit is none.
fn words(text: &str, mut each: impl FnMut(&str)) {
    let mut lower = String::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        // Most words are written so already.
        let word = if word.chars().any(char::is_uppercase) {
            lower.clear();
            lower.extend(word.chars().flat_map(char::to_lowercase));
            lower.as_str()
        } else {
            word
        };
        if word.chars().nth(1).is_some() {
            each(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use mock_server::Site;
    use proptest::prelude::*;
    use reqwest::Url;

    use super::*;
    use crate::extract::extract;

    /// Example 13.1 of the book, with its result: P(China) : P(other) = 0.0003 : 0.0001.
    #[test]
    fn the_textbook_example() {
        let mut trainer = Trainer::default();
        trainer.learn("china", "Chinese Beijing Chinese");
        trainer.learn("china", "Chinese Chinese Shanghai");
        trainer.learn("china", "Chinese Macao");
        trainer.learn("other", "Tokyo Japan Chinese");
        let model = trainer.model(1.0).unwrap();
        assert_eq!((model.vocabulary(), trainer.texts()), (6, 4));
        let text = "Chinese Chinese Chinese Tokyo Japan";
        let scores = model.scores(text);
        let china: f64 = 3.0 / 4.0 * (3.0f64 / 7.0).powi(3) / 14.0 / 14.0;
        let other: f64 = 1.0 / 4.0 * (2.0f64 / 9.0).powi(3) * (2.0 / 9.0) * (2.0 / 9.0);
        assert!((scores[0].exp() - china).abs() < 1e-12, "{scores:?}");
        assert!((scores[1].exp() - other).abs() < 1e-12, "{scores:?}");
        assert_eq!(model.classify(text), "china");
        // What was seen nowhere says nothing: the commoner category.
        assert_eq!(model.classify("Reykjavik"), "china");
        assert_eq!(model.classify(""), "china");
        assert!(Trainer::default().model(1.0).is_none());
    }

    /// Held-out products, whose category no page tells: as good as anybody could be, within a point.
    #[test]
    fn it_learns_the_shops_categories() {
        let site = Site::new(5, 4000);
        let url = Url::parse("http://shop/").unwrap();
        let read = |path: String| extract(site.page(&path).as_bytes(), &url);
        let mut trainer = Trainer::default();
        for n in 0..400 {
            let page = read(format!("/labelled/{n}"));
            trainer.learn(page.label.as_deref().unwrap(), &page.text);
        }
        let model = trainer.model(1.0).unwrap();
        let right = |n: &u64| model.classify(&read(format!("/p/{n}")).text) == site.category(*n);
        let accuracy = (0..4000).filter(right).count() as f64 / 4000.0;
        let best = Site::best_accuracy(77, 20_000);
        assert!(accuracy > 0.95, "{accuracy}, at best {best}");
        assert!((accuracy - best).abs() < 0.015, "{accuracy}, at best {best}");
    }

    proptest! {
        /// A text is as likely as its words, in whatever order and case.
        #[test]
        fn order_and_case_do_not_matter(mut text in prop::collection::vec("[a-e]{2,3}", 1..12)) {
            let mut trainer = Trainer::default();
            trainer.learn("one", "aa bb cc aaa");
            trainer.learn("two", "dd ee bb eee bb");
            let model = trainer.model(1.0).unwrap();
            let before = model.scores(&text.join(" "));
            text.reverse();
            let after = model.scores(&text.join(", ").to_uppercase());
            for (a, b) in before.iter().zip(&after) {
                prop_assert!((a - b).abs() < 1e-9);
            }
        }
    }
}
