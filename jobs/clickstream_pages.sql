-- The funnel by page, hour by hour: how often a page was viewed, by whom, and what came of it.
-- The page is the address without its query.
-- source: clickstream
-- target: clickstream_pages
-- keys: hour_start, page
WITH events AS (
    SELECT
        date_trunc('hour', event_time) AS hour_start,
        split_part(split_part(page_url, '?', 1), '#', 1) AS page,
        event_type,
        user_id,
        latency_ms
    FROM clickstream
    WHERE NOT coalesce(is_bot, false)
)
SELECT
    hour_start,
    page,
    count(CASE WHEN event_type = 'page_view' THEN 1 END) AS page_views,
    count(CASE WHEN event_type = 'click' THEN 1 END) AS clicks,
    count(CASE WHEN event_type = 'add_to_cart' THEN 1 END) AS carts,
    count(CASE WHEN event_type = 'purchase' THEN 1 END) AS purchases,
    count(DISTINCT user_id) AS users,
    count(*) - count(user_id) AS events_without_user,
    cast(count(CASE WHEN event_type = 'purchase' THEN 1 END) AS double)
        / nullif(count(CASE WHEN event_type = 'page_view' THEN 1 END), 0) AS purchases_per_view,
    avg(latency_ms) AS mean_latency_ms,
    max(latency_ms) AS max_latency_ms
FROM events
GROUP BY hour_start, page
