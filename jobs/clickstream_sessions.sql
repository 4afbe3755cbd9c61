-- What each visitor did in a row: a session ends after 30 minutes without an event. Bots are left
-- out. A partition is an hour, so a session over the full hour is cut there; `may_begin_earlier` and
-- `may_go_on` say which ones could be parts of a longer session.
-- source: clickstream
-- target: clickstream_sessions
-- keys: visitor, session_start
WITH events AS (
    SELECT
        coalesce('user ' || cast(user_id AS string), ip || ' ' || user_agent, ip, 'unknown') AS visitor,
        event_time,
        event_id,
        event_type,
        page_url,
        country
    FROM clickstream
    WHERE NOT coalesce(is_bot, false)
),
gaps AS (
    SELECT
        visitor, event_time, event_id, event_type, page_url, country,
        CASE
            WHEN unix_micros(event_time)
                - lag(unix_micros(event_time)) OVER (
                    PARTITION BY visitor ORDER BY event_time NULLS LAST, event_id NULLS LAST
                ) <= 1800000000
            THEN 0 ELSE 1
        END AS begins
    FROM events
),
numbered AS (
    SELECT
        visitor, event_time, event_id, event_type, page_url, country,
        sum(begins) OVER (
            PARTITION BY visitor ORDER BY event_time NULLS LAST, event_id NULLS LAST
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS session_number
    FROM gaps
),
placed AS (
    SELECT
        visitor, session_number, event_time, event_type, page_url, country,
        row_number() OVER (
            PARTITION BY visitor, session_number ORDER BY event_time NULLS LAST, event_id NULLS LAST
        ) AS from_start,
        row_number() OVER (
            PARTITION BY visitor, session_number
            ORDER BY event_time DESC NULLS LAST, event_id DESC NULLS LAST
        ) AS from_end
    FROM numbered
)
SELECT
    visitor,
    min(event_time) AS session_start,
    max(event_time) AS session_end,
    cast(unix_micros(max(event_time)) - unix_micros(min(event_time)) AS double) / 1000000 AS duration_s,
    count(*) AS events,
    count(CASE WHEN event_type = 'page_view' THEN 1 END) AS page_views,
    count(CASE WHEN event_type = 'click' THEN 1 END) AS clicks,
    count(CASE WHEN event_type = 'add_to_cart' THEN 1 END) AS add_to_carts,
    count(CASE WHEN event_type = 'purchase' THEN 1 END) AS purchases,
    max(CASE WHEN from_start = 1 THEN page_url END) AS entry_page,
    max(CASE WHEN from_end = 1 THEN page_url END) AS exit_page,
    max(CASE WHEN from_start = 1 THEN country END) AS country,
    unix_micros(min(event_time)) % 3600000000 <= 1800000000 AS may_begin_earlier,
    3600000000 - unix_micros(max(event_time)) % 3600000000 <= 1800000000 AS may_go_on
FROM placed
GROUP BY visitor, session_number
