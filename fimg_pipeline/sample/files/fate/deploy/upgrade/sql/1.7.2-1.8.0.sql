-- The oldest release the sample upgrades from: its tables are made here when they are missing.
CREATE TABLE IF NOT EXISTS t_job (
    f_job_id VARCHAR(25) NOT NULL,
    f_create_time BIGINT,
    f_role VARCHAR(50) NOT NULL,
    f_party_id VARCHAR(10) NOT NULL,
    f_status VARCHAR(50) NOT NULL,

    PRIMARY KEY (f_job_id, f_role, f_party_id)
);

CREATE TABLE IF NOT EXISTS t_task (
    f_task_id VARCHAR(100) NOT NULL,
    f_task_version BIGINT NOT NULL,
    f_job_id VARCHAR(25) NOT NULL,
    f_status VARCHAR(50) NOT NULL,

    PRIMARY KEY (f_task_id, f_task_version)
);

CREATE TABLE IF NOT EXISTS t_storage_table_meta (
    f_name VARCHAR(100) NOT NULL,
    f_namespace VARCHAR(100) NOT NULL,
    f_count BIGINT,

    PRIMARY KEY (f_name, f_namespace)
);

ALTER TABLE t_storage_table_meta ADD f_origin VARCHAR(50) NOT NULL DEFAULT '';
ALTER TABLE t_storage_table_meta ADD f_disable BOOL NOT NULL DEFAULT FALSE;
