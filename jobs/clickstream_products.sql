-- The funnel by product, hour by hour: seen (clicked or listed in a view), put into a cart, bought,
-- and the revenue of what was bought.
-- source: clickstream
-- target: clickstream_products
-- unnest: items as item
-- keys: hour_start, sku
WITH lines AS (
    SELECT
        date_trunc('hour', event_time) AS hour_start,
        item_sku AS sku,
        event_type,
        user_id,
        item_qty AS qty,
        item_qty * item_price AS amount
    FROM item
    WHERE NOT coalesce(is_bot, false)
)
SELECT
    hour_start,
    sku,
    count(CASE WHEN event_type = 'page_view' OR event_type = 'click' THEN 1 END) AS product_views,
    count(CASE WHEN event_type = 'add_to_cart' THEN 1 END) AS carts,
    count(CASE WHEN event_type = 'purchase' THEN 1 END) AS purchases,
    count(DISTINCT CASE WHEN event_type = 'purchase' THEN user_id END) AS buyers,
    sum(CASE WHEN event_type = 'purchase' THEN qty END) AS units_sold,
    sum(CASE WHEN event_type = 'purchase' THEN amount END) AS revenue,
    cast(count(CASE WHEN event_type = 'purchase' THEN 1 END) AS double)
        / nullif(count(CASE WHEN event_type = 'add_to_cart' THEN 1 END), 0) AS purchases_per_cart
FROM lines
GROUP BY hour_start, sku
