ALTER TABLE t_job ADD f_description TEXT;
UPDATE t_job SET f_description = 'from before 1.10; nothing is known' WHERE f_description IS NULL;
