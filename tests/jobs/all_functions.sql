-- Every function and form of the subset, over columns full of nulls: what the list in docs/JOBS.md
-- promises is what this answers alike.
-- source: clickstream
-- target: all_functions
-- unnest: items as item
-- keys: event_id
WITH lines AS (
    SELECT event_id, item_sku, item_qty, item_price,
        row_number() OVER (PARTITION BY event_id ORDER BY item_sku NULLS FIRST, item_qty NULLS LAST, item_price NULLS LAST) AS n
    FROM item
),
totals AS (
    SELECT event_id,
        count(*) AS lines,
        sum(item_qty) AS units,
        sum(cast(item_qty AS bigint) * item_price) AS amount,
        max(item_price) AS dearest,
        sum(item_qty) FILTER (WHERE item_price > cast(1.5 AS decimal(10,2))) AS dear_units,
        max(CASE n WHEN 1 THEN item_sku END) AS first_sku,
        stddev_pop(cast(item_qty AS double)) AS spread
    FROM lines
    GROUP BY event_id
    HAVING count(*) > 0
),
both_kinds AS (
    SELECT event_id, 'few' AS kind FROM totals WHERE lines < 2
    UNION ALL
    SELECT event_id, 'many' AS kind FROM totals WHERE lines >= 2
)
SELECT
    c.event_id,
    abs(c.user_id - 30) AS a_abs,
    -c.user_id AS a_negative,
    c.user_id % 7 AS a_modulo,
    (c.user_id - 30) % 7 AS a_negative_modulo,
    c.user_id % nullif(c.user_id % 3, 0) AS a_modulo_null,
    cast(c.user_id AS double) / nullif(c.user_id % 5, 0) AS a_division,
    coalesce(c.country, c.ip, 'none') AS a_coalesce,
    nullif(c.country, 'DE') AS a_nullif,
    greatest(c.user_id, 20, c.user_id % 40) AS a_greatest,
    least(c.latency_ms, cast(100.25 AS double)) AS a_least,
    length(c.page_url) AS a_length,
    lower(c.page_url) AS a_lower,
    upper(c.page_url) AS a_upper,
    trim('  ' || c.user_agent || ' ') AS a_trim,
    replace(c.page_url, '/', '::') AS a_replace,
    split_part(c.page_url, '/', 4) AS a_split,
    split_part(c.page_url, '/', -1) AS a_split_last,
    split_part(c.page_url, 'zz', 2) AS a_split_none,
    substring(c.page_url, 9, 4) AS a_substring,
    substr(c.page_url, 25) AS a_substr,
    c.page_url LIKE '%/p/_h%' AS a_like,
    c.country IN ('DE', 'US') AS a_in,
    c.country NOT IN ('DE', 'US') AS a_not_in,
    c.latency_ms BETWEEN cast(10 AS double) AND cast(200.5 AS double) AS a_between,
    c.is_bot IS TRUE AS a_is_true,
    c.is_bot IS NOT FALSE AS a_is_not_false,
    NOT c.is_bot OR c.country IS NULL AS a_logic,
    c.device.os AS a_field,
    cast(c.user_id AS string) AS a_text,
    cast(c.user_id AS decimal(12,3)) AS a_decimal,
    cast(c.latency_ms AS double) AS a_double,
    cast(c.event_time AS date) AS a_date,
    cast(cast(c.event_time AS date) AS timestamp) AS a_midnight,
    date_trunc('year', c.event_time) AS a_year_start,
    date_trunc('month', c.event_time) AS a_month_start,
    date_trunc('week', c.event_time) AS a_week_start,
    date_trunc('day', c.event_time) AS a_day_start,
    date_trunc('minute', c.event_time) AS a_minute_start,
    date_trunc('second', c.event_time) AS a_second_start,
    extract(year FROM c.event_time) AS a_year,
    extract(month FROM c.event_time) AS a_month,
    extract(day FROM c.event_time) AS a_day,
    extract(hour FROM c.event_time) AS a_hour,
    extract(minute FROM c.event_time) AS a_minute,
    unix_micros(c.event_time) AS a_micros,
    timestamp_micros(unix_micros(c.event_time) - 86400000000) AS a_day_before,
    c.hour AS a_partition_key,
    t.units,
    t.amount,
    t.dearest,
    t.dear_units,
    t.first_sku,
    t.spread,
    k.kind,
    rank() OVER w AS w_rank,
    dense_rank() OVER w AS w_dense_rank,
    lag(c.latency_ms, 2) OVER (PARTITION BY c.country ORDER BY c.event_id NULLS LAST) AS w_lag,
    lead(c.page_url, 1, 'end') OVER (PARTITION BY c.country ORDER BY c.event_id NULLS LAST) AS w_lead,
    first_value(c.user_id) OVER (PARTITION BY c.country ORDER BY c.event_id DESC NULLS LAST) AS w_first,
    last_value(c.user_id) OVER (PARTITION BY c.country ORDER BY c.event_id NULLS LAST) AS w_last,
    count(*) OVER (PARTITION BY c.country) AS w_count,
    sum(c.user_id) OVER (PARTITION BY c.country ORDER BY c.event_id NULLS LAST ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS w_sum,
    bool_and(c.is_bot) OVER (PARTITION BY c.country) AS w_and,
    bool_or(c.is_bot) OVER (PARTITION BY c.country) AS w_or
FROM clickstream c
LEFT JOIN totals t ON c.event_id = t.event_id
LEFT JOIN both_kinds k ON k.event_id = c.event_id
WINDOW w AS (PARTITION BY c.country ORDER BY c.user_id NULLS FIRST)
