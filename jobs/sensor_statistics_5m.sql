-- Statistics of each series over five minutes. Buckets without a reading have no row.
-- source: sensor_readings
-- target: sensor_statistics_5m
-- keys: source_group, series, bucket_start
WITH readings AS (
    SELECT
        source_group,
        series,
        timestamp_micros(unix_micros(event_time) - unix_micros(event_time) % 300000000) AS bucket_start,
        event_time,
        reading
    FROM sensor_readings
)
SELECT
    source_group,
    series,
    bucket_start,
    count(*) AS readings,
    min(reading) AS min_reading,
    max(reading) AS max_reading,
    avg(reading) AS mean_reading,
    stddev_samp(reading) AS stddev_reading,
    min(event_time) AS first_at,
    max(event_time) AS last_at
FROM readings
GROUP BY source_group, series, bucket_start
