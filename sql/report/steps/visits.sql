-- Visits with who made them and where they came from, as the traffic report counts them.
--
-- grain:  one row per click
-- kind:   temporary
-- split:  report_date
-- reads:  clean.clicks
-- params: $from, $to, $zone
--
-- Visits of one visitor that the report counts together share a hash. Others hardly ever do.
with visits as (
    select
        local_date(clicked_at, $zone) as report_date,
        publisher_id,
        coalesce(tracking_id, '(none)') as tracking_id,
        coalesce(store_id, '(none)') as store_id,
        coalesce(country, '(none)') as country,
        coalesce(device, '(none)') as device,
        visitor_id,
        case when visitor_id is null then buyer_id end as buyer_without_visitor
    from clean.clicks
    where clicked_at >= $from and clicked_at < $to
)

select
    visits.*,
    hash64(
        publisher_id, tracking_id, store_id, country, device, visitor_id, buyer_without_visitor
    ) as visit_hash
from visits
