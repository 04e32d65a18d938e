-- When each trail's clicks happened.
--
-- grain:  one row per click on a trail
-- kind:   temporary
-- split:  bucket
-- rule:   whose_click
-- reads:  clean.clicks, attribution.buyer_trails, attribution.visitor_trails
-- params: $from, $to, $window, $scope, $buckets
--
-- Most clicks lead to no order, and only winners need their other columns. So this step reads only
-- the time of each click. Clicks with a buyer and clicks without one are looked up apart: where no
-- visitor matters, the latter are not even read.
with clicks as (
    select
        buyer_id,
        visitor_id,
        case when $scope = 'store' then store_id else '' end as scope_key,
        clicked_at
    from clean.clicks
    where clicked_at >= $from - $window
        and clicked_at < $to
),

logged as (
    select buyer_id, scope_key, clicked_at
    from clicks
    where buyer_id is not null
),

anonymous as (
    select visitor_id, scope_key, clicked_at
    from clicks
    where buyer_id is null
        and visitor_id is not null
)

select
    buyers.trail_key % $buckets as bucket,
    buyers.trail_key,
    logged.clicked_at
from attribution.buyer_trails as buyers
inner join logged
    on buyers.buyer_id = logged.buyer_id
    and buyers.scope_key = logged.scope_key
union all
select
    visitors.trail_key % $buckets as bucket,
    visitors.trail_key,
    anonymous.clicked_at
from attribution.visitor_trails as visitors
inner join anonymous
    on visitors.visitor_id = anonymous.visitor_id
    and visitors.scope_key = anonymous.scope_key
    and (visitors.valid_from is null or visitors.valid_from <= anonymous.clicked_at)
    and (visitors.valid_to is null or anonymous.clicked_at < visitors.valid_to)
