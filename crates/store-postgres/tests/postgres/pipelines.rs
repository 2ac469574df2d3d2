//! What is wanted of each pipeline, in PostgreSQL.

use model::{Class, Classify};
use store_postgres::migrate;

use crate::fixture;

#[tokio::test]
async fn a_role_without_the_right_is_told_what_to_grant() {
    let server = fixture::shared();
    let options = fixture::options(server);
    migrate(&options).await.unwrap();
    let (role, schema) = (format!("of_{}", options.schema), &options.schema);
    let grant = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT ON {schema}.schema_version TO {role}"
    );
    server.execute(&grant).unwrap();
    let lacking = store_postgres::Options { user: role, ..options.clone() };
    let refused = fixture::beside(&lacking).pipelines().wanted().await.unwrap_err();
    assert_eq!(refused.class(), Class::Fatal, "no outage: {refused}");
    assert!(refused.to_string().contains("grant this role"), "{refused}");
}
