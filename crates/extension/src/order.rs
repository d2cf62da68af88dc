//! The order in which everything happens: dependencies first, then priority.

use std::collections::{BTreeMap, BTreeSet};

/// What decides an extension's place in load order.
pub(crate) struct Node<'a> {
    pub(crate) id: &'a str,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) dependencies: Vec<&'a str>,
    pub(crate) optional: Vec<&'a str>,
}

/// The order of `nodes` as indices, and the circles found among them.
///
/// Every node comes after its dependencies; among those that could come next, the smallest (priority, weight, id) does.
/// Dependencies that are not among the nodes do not count. Nodes of a circle, and those behind one, follow at the end in
/// the order of their keys, so that a broken set can still be listed.
pub(crate) fn topological(nodes: &[Node<'_>]) -> (Vec<usize>, Vec<Vec<String>>) {
    let index: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
    let key = |at: usize| (nodes[at].priority, nodes[at].weight, nodes[at].id, at);
    let mut waits_for: Vec<BTreeSet<usize>> = nodes
        .iter()
        .map(|node| node.dependencies.iter().chain(&node.optional).filter_map(|id| index.get(id).copied()).collect())
        .collect();
    let edges = waits_for.clone();

    let mut ready: BTreeSet<_> = (0..nodes.len()).filter(|&at| waits_for[at].is_empty()).map(key).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some((.., next)) = ready.pop_first() {
        order.push(next);
        for (at, waiting) in waits_for.iter_mut().enumerate() {
            if waiting.remove(&next) && waiting.is_empty() {
                ready.insert(key(at));
            }
        }
    }

    let mut stuck: Vec<usize> = (0..nodes.len()).filter(|&at| !waits_for[at].is_empty()).collect();
    stuck.sort_by_key(|&at| key(at));
    let circles = circles(nodes, &edges, &stuck);
    order.extend(stuck);
    (order, circles)
}

/// One circle for every group of nodes that reach each other, written from its smallest id back to itself.
fn circles(nodes: &[Node<'_>], edges: &[BTreeSet<usize>], stuck: &[usize]) -> Vec<Vec<String>> {
    let mut by_id = stuck.to_vec();
    by_id.sort_by_key(|&at| nodes[at].id);
    let mut done = BTreeSet::new();
    let mut found = Vec::new();
    for start in by_id {
        if done.contains(&start) {
            continue;
        }
        let group: BTreeSet<usize> =
            reachable(edges, start).into_iter().filter(|&at| reachable(edges, at).contains(&start)).collect();
        if let Some(path) = shortest_way_back(edges, &group, start) {
            found.push(path.iter().map(|&at| nodes[at].id.to_owned()).collect());
            done.extend(group);
        }
    }
    found
}

fn reachable(edges: &[BTreeSet<usize>], start: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<usize> = edges[start].iter().copied().collect();
    while let Some(at) = open.pop() {
        if seen.insert(at) {
            open.extend(&edges[at]);
        }
    }
    seen
}

fn shortest_way_back(edges: &[BTreeSet<usize>], group: &BTreeSet<usize>, start: usize) -> Option<Vec<usize>> {
    let mut paths = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            let last = *path.last()?;
            for &next in edges[last].intersection(group) {
                let mut path = path.clone();
                path.push(next);
                if next == start {
                    return Some(path);
                }
                if seen.insert(next) {
                    longer.push(path);
                }
            }
        }
        paths = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word is `id`, `id@priority` or `id@priority.weight`, then `<dependency` and `?optional` in any number.
    fn check(words: &str, expected_order: &str, expected_circles: &[&str]) {
        let nodes: Vec<Node<'_>> = words.split(' ').map(node).collect();
        let (order, circles) = topological(&nodes);
        let ids: Vec<&str> = order.iter().map(|&at| nodes[at].id).collect();
        assert_eq!(ids.join(" "), expected_order, "{words}");
        let circles: Vec<String> = circles.iter().map(|chain| chain.join(" -> ")).collect();
        assert_eq!(circles, expected_circles, "{words}");
    }

    fn node(word: &str) -> Node<'_> {
        let end = word.find(['<', '?']).unwrap_or(word.len());
        let (head, mut rest) = word.split_at(end);
        let (id, key) = head.split_once('@').unwrap_or((head, "100"));
        let (priority, weight) = key.split_once('.').unwrap_or((key, "100"));
        let mut node = Node {
            id,
            priority: priority.parse().expect("a number"),
            weight: weight.parse().expect("a number"),
            dependencies: Vec::new(),
            optional: Vec::new(),
        };
        while !rest.is_empty() {
            let end = rest[1..].find(['<', '?']).map_or(rest.len(), |at| at + 1);
            let target = if rest.starts_with('<') { &mut node.dependencies } else { &mut node.optional };
            target.push(&rest[1..end]);
            rest = &rest[end..];
        }
        node
    }

    #[test]
    fn load_order() {
        check("c b a", "a b c", &[]);
        check("a@3 b@2 c@1", "c b a", &[]);
        check("a@5.3 b@5.1 c@5.2", "b c a", &[]);
        check("b@1<a a@100", "a b", &[]);
        check("late<base base@200 other@150", "other base late", &[]);
        check("a?z z", "z a", &[]);
        check("a?missing<absent b", "a b", &[]);
        check("d<b<c b<a c<a a", "a b c d", &[]);
    }

    #[test]
    fn circles_are_found_and_the_rest_is_still_ordered() {
        check("b<a a<b", "a b", &["a -> b -> a"]);
        check("a<a", "a", &["a -> a"]);
        check("c<a a<b b<c x", "x a b c", &["a -> b -> c -> a"]);
        check("b<a a<b d<c c<d behind<a", "a b behind c d", &["a -> b -> a", "c -> d -> c"]);
        check("a<b<c b<a c<a", "a b c", &["a -> b -> a"]);
        check("a?b b<a", "a b", &["a -> b -> a"]);
    }
}
