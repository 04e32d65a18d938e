-- When each shopper came through a promotion link.
--
-- grain:  one row per click of a shopper
-- kept:   for the run, each slice of shoppers apart
-- split:  slice
-- reads:  clean.clicks, attribution.shoppers
-- params: $from, $to, $window, $scope, $slices
--
-- Most clicks lead to no order, and of those that do only the winner's particulars are asked
-- for: here is only when they happened. Clicks of nobody known are nobody's: to leave them out
-- first costs less than to look for their buyer.
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
    shoppers.shopper % $slices as slice,
    shoppers.shopper,
    clicks.clicked_at
from attribution.shoppers as shoppers
inner join clicks
    on shoppers.buyer_id = clicks.buyer_id
    and shoppers.scope_key = clicks.scope_key
