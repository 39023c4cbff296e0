//! Values as every store can hold them, and columns with a type.
//!
//! The transitions are written once, over typed columns; a store only ever sees cells.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    ApprovalId, ApprovalStatus, ApprovalType, Error, ExecutionId, ExecutionStatus, PauseType, Result, RunId, RunStatus,
    SessionId,
};

/// One stored value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Text(String),
}

impl Cell {
    /// The text, or nothing where there is none.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Int(_) => None,
        }
    }
}

/// A type that a column can hold. What comes back is not trusted: another program may have written it.
pub(crate) trait Stored: Sized {
    fn to_cell(&self) -> Cell;
    fn from_cell(cell: Cell) -> Result<Self, String>;
}

/// A row type: its table, its columns in order, and the way to cells and back.
pub(crate) trait Row: Sized + Clone {
    const TABLE: Table;
    const COLUMNS: &'static [&'static str];
    /// The columns as SQL lists them.
    #[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
    const LIST: &'static str;
    /// Places of the columns that rows are looked up by.
    const LOOKUPS: &'static [usize];
    /// Places of the columns that together name one row. SQL keeps them unique by itself; the store in memory looks.
    const UNIQUE: &'static [&'static [usize]];

    fn to_cells(&self) -> Vec<Cell>;
    fn from_cells(cells: Vec<Cell>) -> Result<Self>;
}

/// kern's tables. The names in a database are configurable; these are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Table {
    Runs,
    Calls,
    Approvals,
    Votes,
    Executions,
    Audit,
    Outbox,
    Pools,
    Checkpoints,
    Keys,
    Requests,
    Webhooks,
    Deliveries,
    Sessions,
    Store,
    Hosts,
}

impl Table {
    pub(crate) const ALL: [Self; 16] = [
        Self::Runs,
        Self::Calls,
        Self::Approvals,
        Self::Votes,
        Self::Executions,
        Self::Audit,
        Self::Outbox,
        Self::Pools,
        Self::Checkpoints,
        Self::Keys,
        Self::Requests,
        Self::Webhooks,
        Self::Deliveries,
        Self::Sessions,
        Self::Store,
        Self::Hosts,
    ];

    /// The word for it in `{…}` of a migration, in the record of names, and after `kern_` in the default name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Calls => "calls",
            Self::Approvals => "approvals",
            Self::Votes => "votes",
            Self::Executions => "executions",
            Self::Audit => "audit",
            Self::Outbox => "outbox",
            Self::Pools => "pools",
            Self::Checkpoints => "checkpoints",
            Self::Keys => "keys",
            Self::Requests => "requests",
            Self::Webhooks => "webhooks",
            Self::Deliveries => "deliveries",
            Self::Sessions => "sessions",
            Self::Store => "store",
            Self::Hosts => "hosts",
        }
    }
}

/// A column of row type `R` that holds a `T`.
pub(crate) struct Column<R, T> {
    name: &'static str,
    place: usize,
    types: PhantomData<fn() -> (R, T)>,
}

// Not derived: what a column is a column of need not be copied.
impl<R, T> Clone for Column<R, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T> Copy for Column<R, T> {}

/// `column = value` in the `SET` of an update.
#[derive(Clone, Debug)]
pub(crate) struct Assign<R> {
    pub(crate) name: &'static str,
    pub(crate) place: usize,
    pub(crate) value: Cell,
    row: PhantomData<fn() -> R>,
}

/// One condition of a `WHERE`.
#[derive(Clone, Debug)]
pub(crate) struct Cond<R> {
    pub(crate) name: &'static str,
    pub(crate) place: usize,
    pub(crate) op: Op,
    pub(crate) value: Cell,
    row: PhantomData<fn() -> R>,
}

/// How a condition compares. `Is` treats null as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Is,
    AtMost,
    Above,
}

impl<R, T: Stored> Column<R, T> {
    pub(crate) const fn new(name: &'static str, place: usize) -> Self {
        Self { name, place, types: PhantomData }
    }

    pub(crate) fn to(&self, value: T) -> Assign<R> {
        Assign { name: self.name, place: self.place, value: value.to_cell(), row: PhantomData }
    }

    pub(crate) fn is(&self, value: T) -> Cond<R> {
        self.cond(Op::Is, value)
    }

    pub(crate) fn at_most(&self, value: T) -> Cond<R> {
        self.cond(Op::AtMost, value)
    }

    pub(crate) fn above(&self, value: T) -> Cond<R> {
        self.cond(Op::Above, value)
    }

    pub(crate) fn order(&self) -> (&'static str, usize) {
        (self.name, self.place)
    }

    fn cond(&self, op: Op, value: T) -> Cond<R> {
        Cond { name: self.name, place: self.place, op, value: value.to_cell(), row: PhantomData }
    }
}

/// Columns of one row type that are read, or compared, together: one column, or a tuple of them.
pub(crate) trait Columns<R> {
    type Values;

    /// Name and place of each.
    fn list(&self) -> Vec<(&'static str, usize)>;
    fn to_cells(values: Self::Values) -> Vec<Cell>;
    fn take(&self, cells: &mut impl Iterator<Item = Cell>) -> Result<Self::Values>;
}

impl<R: Row, T: Stored> Columns<R> for Column<R, T> {
    type Values = T;

    fn list(&self) -> Vec<(&'static str, usize)> {
        vec![self.order()]
    }

    fn to_cells(value: T) -> Vec<Cell> {
        vec![value.to_cell()]
    }

    fn take(&self, cells: &mut impl Iterator<Item = Cell>) -> Result<T> {
        take::<R, T>(self.name, cells.next())
    }
}

macro_rules! columns_of_tuples {
    ($(($($Part:ident $place:tt),+)),+ $(,)?) => {
        $(impl<R, $($Part: Columns<R>),+> Columns<R> for ($($Part,)+) {
            type Values = ($($Part::Values,)+);

            fn list(&self) -> Vec<(&'static str, usize)> {
                [$(self.$place.list()),+].concat()
            }

            fn to_cells(values: Self::Values) -> Vec<Cell> {
                [$($Part::to_cells(values.$place)),+].concat()
            }

            fn take(&self, cells: &mut impl Iterator<Item = Cell>) -> Result<Self::Values> {
                Ok(($(self.$place.take(cells)?,)+))
            }
        })+
    };
}

columns_of_tuples! {
    (A 0, B 1),
    (A 0, B 1, C 2),
    (A 0, B 1, C 2, D 3),
}

impl<R> Cond<R> {
    /// Whether a cell meets the condition, as SQL would say. Only the store in memory asks.
    pub(crate) fn holds(&self, cell: &Cell) -> bool {
        match self.op {
            Op::Is => cell == &self.value,
            Op::AtMost => cell != &Cell::Null && cell <= &self.value,
            Op::Above => cell != &Cell::Null && cell > &self.value,
        }
    }
}

/// A value kept as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize + DeserializeOwned> Stored for Json<T> {
    fn to_cell(&self) -> Cell {
        Cell::Text(crate::digest::canonical(&self.0))
    }

    fn from_cell(cell: Cell) -> Result<Self, String> {
        match cell {
            Cell::Text(text) => serde_json::from_str(&text).map(Self).map_err(|error| error.to_string()),
            other => Err(format!("expected JSON, found {other:?}")),
        }
    }
}

impl<T: Stored> Stored for Option<T> {
    fn to_cell(&self) -> Cell {
        self.as_ref().map_or(Cell::Null, Stored::to_cell)
    }

    fn from_cell(cell: Cell) -> Result<Self, String> {
        match cell {
            Cell::Null => Ok(None),
            other => T::from_cell(other).map(Some),
        }
    }
}

impl Stored for String {
    fn to_cell(&self) -> Cell {
        Cell::Text(self.clone())
    }

    fn from_cell(cell: Cell) -> Result<Self, String> {
        match cell {
            Cell::Text(text) => Ok(text),
            other => Err(format!("expected text, found {other:?}")),
        }
    }
}

impl Stored for i64 {
    fn to_cell(&self) -> Cell {
        Cell::Int(*self)
    }

    fn from_cell(cell: Cell) -> Result<Self, String> {
        match cell {
            Cell::Int(number) => Ok(number),
            other => Err(format!("expected an integer, found {other:?}")),
        }
    }
}

impl Stored for u32 {
    fn to_cell(&self) -> Cell {
        Cell::Int(i64::from(*self))
    }

    fn from_cell(cell: Cell) -> Result<Self, String> {
        let number = i64::from_cell(cell)?;
        Self::try_from(number).map_err(|_| format!("expected 0 to {}, found {number}", Self::MAX))
    }
}

impl Stored for bool {
    fn to_cell(&self) -> Cell {
        Cell::Int(i64::from(*self))
    }

    fn from_cell(cell: Cell) -> Result<Self, String> {
        match cell {
            Cell::Int(0) => Ok(false),
            Cell::Int(1) => Ok(true),
            other => Err(format!("expected 0 or 1, found {other:?}")),
        }
    }
}

macro_rules! stored_as_text {
    ($($Type:ty: $from:expr),+ $(,)?) => {
        $(impl Stored for $Type {
            fn to_cell(&self) -> Cell {
                Cell::Text(self.to_string())
            }

            fn from_cell(cell: Cell) -> Result<Self, String> {
                let text = String::from_cell(cell)?;
                let from: fn(String) -> Result<Self, String> = $from;
                from(text)
            }
        })+
    };
}

stored_as_text! {
    RunId: |text| Ok(text.into()),
    SessionId: |text| Ok(text.into()),
    ApprovalId: |text| Ok(text.into()),
    ExecutionId: |text| Ok(text.into()),
    RunStatus: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
    ApprovalStatus: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
    ApprovalType: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
    PauseType: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
    ExecutionStatus: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
    crate::Answer: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
    crate::DeliveryStatus: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
    crate::StoreState: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
    crate::Authority: |text| text.parse().map_err(|error: crate::UnknownWord| error.to_string()),
}

/// Names the column in the error of a cell that is not what kern wrote.
pub(crate) fn take<R: Row, T: Stored>(name: &str, cell: Option<Cell>) -> Result<T> {
    let cell = cell.ok_or_else(|| Error::corrupt(format!("{}.{name}", R::TABLE.word()), "the column is missing"))?;
    T::from_cell(cell).map_err(|detail| Error::corrupt(format!("{}.{name}", R::TABLE.word()), detail))
}

/// Declares a row: the struct, its typed columns (`RowType::C`), and the way to cells and back.
macro_rules! row {
    (
        $(#[$doc:meta])*
        $Row:ident, $Columns:ident, $table:ident, lookups [$($lookup:ident),+], unique [$([$($key:ident),+]),+] {
            $( $(#[$fdoc:meta])* $field:ident: $ty:ty, )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $Row {
            $( $(#[$fdoc])* pub(crate) $field: $ty, )+
        }

        #[allow(dead_code)]
        pub(crate) struct $Columns {
            $( pub(crate) $field: $crate::cell::Column<$Row, $ty>, )+
        }

        const _: () = {
            #[allow(non_camel_case_types, dead_code)]
            enum Place { $( $field, )+ }

            impl $Row {
                /// The columns, for conditions and assignments.
                #[allow(dead_code)]
                pub(crate) const C: $Columns = $Columns {
                    $( $field: $crate::cell::Column::new(stringify!($field), Place::$field as usize), )+
                };
            }

            impl $crate::cell::Row for $Row {
                const TABLE: $crate::cell::Table = $crate::cell::Table::$table;
                const COLUMNS: &'static [&'static str] = &[$( stringify!($field), )+];
                const LIST: &'static str = {
                    let list = concat!($( stringify!($field), ", ", )+);
                    list.split_at(list.len() - ", ".len()).0
                };
                const LOOKUPS: &'static [usize] = &[$( Place::$lookup as usize, )+];
                const UNIQUE: &'static [&'static [usize]] = &[$( &[$( Place::$key as usize, )+], )+];

                fn to_cells(&self) -> Vec<$crate::cell::Cell> {
                    vec![$( $crate::cell::Stored::to_cell(&self.$field), )+]
                }

                fn from_cells(cells: Vec<$crate::cell::Cell>) -> $crate::Result<Self> {
                    let mut cells = cells.into_iter();
                    Ok(Self { $( $field: $crate::cell::take::<Self, $ty>(stringify!($field), cells.next())?, )+ })
                }
            }
        };
    };
}
pub(crate) use row;
