-- Traffic of a day by path and status: requests, clients, bytes. The path is the request without its
-- query.
-- source: access_log
-- target: access_log_traffic
-- keys: path, status
SELECT
    split_part(request, '?', 1) AS path,
    response AS status,
    count(*) AS requests,
    count(CASE WHEN verb = 'GET' THEN 1 END) AS gets,
    count(DISTINCT client_ip) AS clients,
    sum(bytes) AS bytes_sent,
    count(*) - count(bytes) AS requests_without_body,
    cast(sum(bytes) AS double) / nullif(count(bytes), 0) AS mean_bytes,
    min(event_time) AS first_request,
    max(event_time) AS last_request
FROM access_log
GROUP BY split_part(request, '?', 1), response
