ALTER TABLE t_task ADD f_run_port INT;
ALTER TABLE t_task ADD f_kill_status BOOL NOT NULL DEFAULT FALSE;
ALTER TABLE t_task ADD f_error_report TEXT;

CREATE TABLE IF NOT EXISTS t_tracking_metric_20220101 (
    f_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    f_component_name VARCHAR(30) NOT NULL,
    f_metric_name VARCHAR(180) NOT NULL
);

-- Metrics live in a table per day, so the day tables are changed by a loop over their names.
DROP PROCEDURE IF EXISTS widen_tracking_metric;
DELIMITER //

CREATE PROCEDURE widen_tracking_metric()
BEGIN
    DECLARE finished BOOL DEFAULT FALSE;
    DECLARE day_table VARCHAR(64);
    DECLARE day_tables CURSOR FOR
        SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES
        WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 't\_tracking\_metric\_%';
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET finished = TRUE;

    OPEN day_tables;
    each_table: LOOP
        FETCH day_tables INTO day_table;
        IF finished THEN
            LEAVE each_table;
        END IF;
        SET @change = CONCAT(
            'ALTER TABLE ', day_table,
            ' MODIFY f_metric_name VARCHAR(80) NOT NULL,',
            ' ADD INDEX ', day_table, '_f_component_name (f_component_name);'
        );
        PREPARE statement_ FROM @change;
        EXECUTE statement_;
        DEALLOCATE PREPARE statement_;
    END LOOP;
    CLOSE day_tables;
END //

DELIMITER ;
CALL widen_tracking_metric();
DROP PROCEDURE widen_tracking_metric;
