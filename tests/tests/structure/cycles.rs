//! Finds the cycles of a graph: its strongly connected components of more than one node, by Tarjan's algorithm.

use std::collections::BTreeSet;

struct Search<'a> {
    edges: &'a [BTreeSet<usize>],
    /// When each node was reached.
    reached: Vec<Option<usize>>,
    open: Vec<usize>,
    is_open: Vec<bool>,
    count: usize,
    cycles: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn visit(&mut self, node: usize) -> usize {
        let (number, mut earliest) = (self.count, self.count);
        self.count += 1;
        self.reached[node] = Some(number);
        self.open.push(node);
        self.is_open[node] = true;
        let edges = self.edges;
        for next in &edges[node] {
            match self.reached[*next] {
                None => earliest = earliest.min(self.visit(*next)),
                Some(reached) if self.is_open[*next] => earliest = earliest.min(reached),
                Some(_) => {}
            }
        }
        if earliest == number {
            let from = self.open.iter().position(|open| *open == node).expect("it was pushed above");
            let mut cycle = self.open.split_off(from);
            cycle.iter().for_each(|node| self.is_open[*node] = false);
            if cycle.len() > 1 {
                cycle.sort_unstable();
                self.cycles.push(cycle);
            }
        }
        earliest
    }
}

/// The cycles, the largest one first.
pub(crate) fn find(edges: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let count = edges.len();
    let mut search = Search {
        edges,
        reached: vec![None; count],
        open: Vec::new(),
        is_open: vec![false; count],
        count: 0,
        cycles: Vec::new(),
    };
    for node in 0..count {
        if search.reached[node].is_none() {
            search.visit(node);
        }
    }
    search.cycles.sort_by_key(|cycle| std::cmp::Reverse(cycle.len()));
    search.cycles
}

#[test]
fn cycles_are_found() {
    let edges = |edges: &[&[usize]]| edges.iter().map(|to| to.iter().copied().collect()).collect::<Vec<BTreeSet<_>>>();
    assert_eq!(find(&edges(&[&[1], &[2], &[]])), Vec::<Vec<usize>>::new());
    assert_eq!(find(&edges(&[&[1], &[0, 2], &[3], &[4], &[2]])), [vec![2, 3, 4], vec![0, 1]]);
    assert_eq!(find(&edges(&[&[1, 3], &[2], &[0], &[]])), [vec![0, 1, 2]]);
}
