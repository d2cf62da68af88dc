//! Short names for the newest model of a family, as users of Claude Code give them.

use systemprompt_llm::catalog::CatalogModel;

/// The names, and the families they stand for, the better one first.
const FAMILIES: [(&str, &[&str]); 6] = [
    ("fable", &["claude-fable-"]),
    ("opus", &["claude-opus-"]),
    ("sonnet", &["claude-sonnet-"]),
    ("haiku", &["claude-haiku-"]),
    ("best", &["claude-fable-", "claude-opus-"]),
    // The client itself changes to another model once there is a plan.
    ("opusplan", &["claude-opus-"]),
];

/// Each short name with the place of the model it stands for among `models`: the one that was released last, and of those
/// of one day the one that stands first.
pub(super) fn short_names(models: &[&CatalogModel]) -> Vec<(&'static str, usize)> {
    let newest = |beginning: &&str| {
        let of_family = models.iter().enumerate().filter(|(_, model)| model.id.starts_with(beginning));
        let newest = of_family.reduce(|best, next| if next.1.released > best.1.released { next } else { best });
        newest.map(|(at, _)| at)
    };
    let found = FAMILIES.iter().map(|(name, families)| (*name, families.iter().find_map(newest)));
    found.filter_map(|(name, at)| Some((name, at?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_the_newest_of_its_family() {
        let model = |id: &str, year: i32| CatalogModel {
            id: id.to_owned(),
            released: chrono::NaiveDate::from_ymd_opt(year, 1, 1),
            ..CatalogModel::default()
        };
        let models = [
            model("claude-opus-4", 2024),
            model("claude-opus-5", 2026),
            model("claude-opus-5-copy", 2026),
            model("claude-haiku-5", 2026),
            model("gpt-opus", 2027),
        ];
        let named: Vec<_> =
            short_names(&models.each_ref()).into_iter().map(|(name, at)| (name, models[at].id.as_str())).collect();
        assert_eq!(
            named,
            [
                ("opus", "claude-opus-5"),
                ("haiku", "claude-haiku-5"),
                ("best", "claude-opus-5"),
                ("opusplan", "claude-opus-5"),
            ]
        );
    }
}
