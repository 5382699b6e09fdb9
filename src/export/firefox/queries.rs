//! Traced queries as markers. Invariant: a marker lasts from the query's sending to its reading, and the times in its
//! places sum to that.

use super::Out;
use crate::render::place_words;
use crate::wire::{PLACES, Place, QueryTimeline, Sample};
use fxprof_processed_profile::{
    CategoryHandle, Marker, MarkerFieldFlags, MarkerFieldFormat, MarkerGraphType, MarkerLocations, MarkerTiming,
    MarkerTypeHandle, ProcessHandle, Profile, RuntimeSchemaMarkerField, RuntimeSchemaMarkerGraph,
    RuntimeSchemaMarkerSchema, StringHandle, Timestamp,
};

/// The types of markers so far: for the load's hop, and for those behind the server, whose places have other words.
#[derive(Default)]
pub struct Queries {
    of_load: Option<MarkerTypeHandle>,
    behind: Option<MarkerTypeHandle>,
}

/// A traced query with the type and the name of its marker.
struct Traced {
    kind: MarkerTypeHandle,
    name: StringHandle,
    query: QueryTimeline,
}

impl Marker for Traced {
    fn marker_type(&self, _: &mut Profile) -> MarkerTypeHandle {
        self.kind
    }

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        CategoryHandle::OTHER
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        self.name
    }

    /// The places in the order of the path, in ms, then the connection.
    fn number_field_value(&self, field: u32) -> f64 {
        let spent = self.query.spent.get(field as usize);
        spent.map_or(f64::from(self.query.client), |nanos| f64::from(*nanos) / 1e6)
    }
}

impl Out {
    /// The hop's traced queries, on a thread of their own.
    pub fn traced(&mut self, sample: &Sample, of_load: bool, load: ProcessHandle, start: Timestamp) {
        let thread = self.profile.add_thread(load, u32::from(!of_load), start, false);
        let one_in = if sample.every == 1 { "each one".into() } else { format!("one in {}", sample.every) };
        self.profile.set_thread_name(thread, &format!("queries to the {}, {one_in}", sample.hop));
        self.profile.set_thread_show_markers_in_timeline(thread, true);
        let known = if of_load { self.queries.of_load } else { self.queries.behind };
        let kind = known.unwrap_or_else(|| self.profile.register_marker_type(schema(of_load)));
        let kinds = &mut self.queries;
        *(if of_load { &mut kinds.of_load } else { &mut kinds.behind }) = Some(kind);
        let name = self.profile.intern_string(if of_load { "query" } else { "round trip" });
        for query in &sample.queries {
            let timing = MarkerTiming::Interval(self.at(query.sent), self.at(query.sent + query.latency()));
            self.profile.add_marker(thread, timing, Traced { kind, name, query: *query });
        }
    }
}

/// What a traced query tells: each place, drawn as a graph too, and its connection.
fn schema(of_load: bool) -> RuntimeSchemaMarkerSchema {
    let places = || Place::ALL.into_iter().filter(|place| *place != Place::Client);
    let field = |key: String, label: &str, format| RuntimeSchemaMarkerField {
        key,
        label: label.into(),
        format,
        flags: MarkerFieldFlags::SEARCHABLE,
    };
    let mut fields: Vec<RuntimeSchemaMarkerField> = places()
        .map(|place| field(place.to_string(), place_words(place, of_load), MarkerFieldFormat::Duration))
        .collect();
    debug_assert_eq!(fields.len(), PLACES - 1);
    fields.push(field("connection".into(), "client's port, or inode of its socket", MarkerFieldFormat::Integer));
    let graph = |place: Place| RuntimeSchemaMarkerGraph {
        key: place.to_string(),
        graph_type: MarkerGraphType::Bar,
        color: None,
    };
    RuntimeSchemaMarkerSchema {
        type_name: if of_load { "TracedQuery" } else { "TracedRoundTrip" }.into(),
        description: Some("A query whose whole way was followed at the sockets, with the time in each place".into()),
        locations: MarkerLocations::MARKER_CHART | MarkerLocations::MARKER_TABLE,
        chart_label: Some("connection {marker.data.connection}".into()),
        tooltip_label: None,
        table_label: Some("{marker.name} on connection {marker.data.connection}".into()),
        fields,
        graphs: places().map(graph).collect(),
    }
}
