//! What the claims of the committed results say, and what they could not say by chance.

mod by_chance;
mod titles;
