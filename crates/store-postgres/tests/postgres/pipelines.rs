//! What is wanted of each pipeline, in PostgreSQL.

use model::{Class, Classify};
use store_postgres::{inspect, migrate};

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
    let view = inspect::open(&lacking).await.unwrap();
    let missing = view.rights_to_be_listed().await.unwrap();
    assert_eq!(
        missing,
        [
            format!(
                "cannot be paused and listed: the role has no SELECT on \"{schema}\".pipelines; grant it"
            ),
            format!(
                "cannot be paused and listed: the role has no SELECT, INSERT, UPDATE, DELETE on \
                 \"{schema}\".processes; grant it"
            ),
        ]
    );
    let grant = format!(
        "GRANT SELECT ON {schema}.pipelines TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.processes TO {role}",
        role = lacking.user
    );
    server.execute(&grant).unwrap();
    assert_eq!(view.rights_to_be_listed().await, Ok(Vec::new()));
    assert_eq!(fixture::beside(&lacking).pipelines().wanted().await, Ok(Vec::new()));
}
