-- When each buyer came through a promotion link.
--
-- grain:  one row per click of a buyer who ordered
-- kind:   temporary
-- split:  bucket
-- rule:   winning_click
-- reads:  clean.clicks, attribution.buyer_keys
-- params: $from, $to, $window, $scope, $buckets
--
-- Most clicks lead to no order, and only winners need their other columns. So this step reads only
-- the time of each click. Dropping clicks without a buyer before the join is cheaper than joining
-- them.
with clicks as (
    select
        buyer_id,
        case when $scope = 'store' then store_id else '' end as scope_key,
        clicked_at
    from clean.clicks
    where clicked_at >= $from - $window
        and clicked_at < $to
        and buyer_id is not null
)

select
    buyers.buyer_key % $buckets as bucket,
    buyers.buyer_key,
    clicks.clicked_at
from attribution.buyer_keys as buyers
inner join clicks
    on buyers.buyer_id = clicks.buyer_id
    and buyers.scope_key = clicks.scope_key
