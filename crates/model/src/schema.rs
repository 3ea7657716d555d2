//! How the OpenAPI document describes texts that follow a grammar.

/// The schema of a type that `parse` makes of a text: a pattern that accepts what `parse` accepts
/// (and what only the description can exclude, such as reserved names), the longest length in
/// characters, an example and a description.
macro_rules! describe_text {
    ($type:ident, $pattern:literal, $most:expr, $example:literal, $description:literal) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .max_length(Some($most))
                    .examples([$example])
                    .description(Some($description))
                    .into()
            }
        }

        impl utoipa::ToSchema for $type {}
    };
}

pub(crate) use describe_text;
