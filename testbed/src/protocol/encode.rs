//! Rows to the wire. Invariant: a column's bytes are in the format that the client asked for it, and the description of
//! the row says the same.

use std::sync::Arc;

use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse};
use pgwire::error::PgWireResult;
use pgwire::messages::data::DataRow;

use crate::adapter::catalog::{Column, ColumnType, Row, Value};
use crate::adapter::frontend_peek::PeekResponse;
use crate::plant::Planted;

/// The whole answer to a query with rows.
#[inline(never)]
pub fn encode_response(
    response: &PeekResponse,
    format: Option<&Format>,
    planted: &Planted,
) -> PgWireResult<QueryResponse> {
    planted.outside();
    let fields = Arc::new(describe(&response.columns, format));
    let rows = encode_rows(&response.rows, &fields)?;
    Ok(QueryResponse::new(fields, futures::stream::iter(rows.into_iter().map(Ok))))
}

/// The description of rows; text throughout if the client has not said otherwise.
pub fn describe(columns: &[Column], format: Option<&Format>) -> Vec<FieldInfo> {
    let describe_one = |(index, column): (usize, &Column)| {
        let (kind, size) = match column.kind {
            ColumnType::Text => (Type::TEXT, -1),
            ColumnType::Int4 => (Type::INT4, 4),
            ColumnType::Int8 => (Type::INT8, 8),
        };
        let format = format.map_or(FieldFormat::Text, |format| format.format_for(index));
        FieldInfo::new(column.name.clone(), None, None, kind, format).with_type_size(size)
    };
    columns.iter().enumerate().map(describe_one).collect()
}

#[inline(never)]
fn encode_rows(rows: &[Row], fields: &Arc<Vec<FieldInfo>>) -> PgWireResult<Vec<DataRow>> {
    let mut encoder = DataRowEncoder::new(Arc::clone(fields));
    let encode_row = |row: &Row| {
        for value in row {
            match value {
                Value::Null => encoder.encode_field(&None::<i32>)?,
                Value::Text(text) => encoder.encode_field(text)?,
                Value::Int4(narrow) => encoder.encode_field(narrow)?,
                Value::Int8(wide) => encoder.encode_field(wide)?,
            }
        }
        Ok(encoder.take_row())
    };
    rows.iter().map(encode_row).collect()
}
