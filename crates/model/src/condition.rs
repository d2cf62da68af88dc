//! Something that is so for a while, and is told when it begins and when it is over.

use std::time::{Duration, Instant};

/// Whether it is so, for whoever tries again and again and would otherwise say the same each time.
#[derive(Debug, Default)]
pub struct Condition {
    since: Option<Instant>,
}

impl Condition {
    /// It is so. Gives whether that is news.
    pub fn begins(&mut self) -> bool {
        let is_news = self.since.is_none();
        self.since.get_or_insert_with(Instant::now);
        is_news
    }

    /// It is not so. Gives how long it was, if that is news.
    pub fn ends(&mut self) -> Option<Duration> {
        self.since.take().map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_news() {
        let mut condition = Condition::default();
        assert!(condition.ends().is_none());
        assert!(condition.begins());
        assert!(!condition.begins());
        assert!(condition.ends().is_some());
        assert!(condition.ends().is_none());
        assert!(condition.begins());
    }
}
