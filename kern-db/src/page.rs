//! Rows as they are stored, many at once: for readers that compare everything there is and decode almost nothing of it.

use std::ops::Range;

use crate::cell::{Cell, Row};

/// Rows of one table in one buffer. Nothing is allocated for a cell.
#[derive(Debug, Default)]
pub(crate) struct Page {
    columns: usize,
    text: String,
    cells: Vec<Kept>,
}

#[derive(Clone, Debug)]
enum Kept {
    Null,
    Int(i64),
    Text(Range<usize>),
    /// Neither of these, or no text: nothing that kern wrote.
    Odd,
}

/// A cell of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellRef<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Odd,
}

/// A row of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowRef<'a> {
    page: &'a Page,
    first: usize,
}

impl Page {
    pub(crate) fn of<R: Row>(rows: &[R]) -> Self {
        let mut page = Self::new(R::COLUMNS.len());
        for row in rows {
            for cell in row.to_cells() {
                match cell {
                    Cell::Null => page.null(),
                    Cell::Int(number) => page.int(number),
                    Cell::Text(text) => page.text(&text),
                }
            }
        }
        page
    }

    pub(crate) fn new(columns: usize) -> Self {
        Self { columns, text: String::new(), cells: Vec::new() }
    }

    /// Makes room for so many rows, and so many bytes of text, so that nothing is moved while they come.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
    pub(crate) fn reserve(&mut self, rows: usize, bytes: usize) {
        self.cells.reserve(rows * self.columns);
        self.text.reserve(bytes);
    }

    #[inline]
    pub(crate) fn null(&mut self) {
        self.cells.push(Kept::Null);
    }

    #[inline]
    pub(crate) fn int(&mut self, number: i64) {
        self.cells.push(Kept::Int(number));
    }

    #[inline]
    pub(crate) fn text(&mut self, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.cells.push(Kept::Text(start..self.text.len()));
    }

    #[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
    pub(crate) fn odd(&mut self) {
        self.cells.push(Kept::Odd);
    }

    /// Bytes of text so far.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }

    #[inline]
    pub(crate) fn row(&self, row: usize) -> RowRef<'_> {
        RowRef { page: self, first: row * self.columns }
    }

    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = RowRef<'_>> {
        (0..self.len()).map(|row| self.row(row))
    }
}

impl<'a> RowRef<'a> {
    #[inline]
    pub(crate) fn cell(&self, place: usize) -> CellRef<'a> {
        match &self.page.cells[self.first + place] {
            Kept::Null => CellRef::Null,
            Kept::Int(number) => CellRef::Int(*number),
            Kept::Text(range) => CellRef::Text(&self.page.text[range.clone()]),
            Kept::Odd => CellRef::Odd,
        }
    }

    /// The text, or nothing where there is none.
    #[inline]
    pub(crate) fn text(&self, (_, place): (&'static str, usize)) -> Option<&'a str> {
        match self.cell(place) {
            CellRef::Text(text) => Some(text),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn int(&self, (_, place): (&'static str, usize)) -> Option<i64> {
        match self.cell(place) {
            CellRef::Int(number) => Some(number),
            _ => None,
        }
    }

    /// Whether the cell holds what kern does not store there.
    pub(crate) fn is_odd(&self) -> bool {
        self.page.cells[self.first..self.first + self.page.columns].iter().any(|cell| matches!(cell, Kept::Odd))
    }
}
