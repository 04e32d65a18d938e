-- The click that earns an order line: the buyer's latest click in the attribution window (A1, A2).
--
-- grain:  one row per counting placed event and click of its buyer
-- kind:   temporary
-- reads:  rule.whose_click
-- params: $window, $tie, $scope
--
-- Every click starts the window again, so "within the window since the last restart" is simply "the
-- latest click is no older than the window". Several clicks may share that instant. The greatest id
-- wins. Store membership (A3) is checked afterwards and does not change the winner.
with judged as (
    select
        clicks.*,
        case
            when clicked_at > placed_at then 'after the order'
            when clicked_at = placed_at and $tie = 'before' then 'at the order'
            when clicked_at < placed_at - cast($window as interval)
                then 'out of the window'
            when $scope = 'store' and store_id is distinct from line_store_id
                then 'another store'
            else 'candidate'
        end as verdict
    from rule.whose_click as clicks
)

select
    judged.*,
    verdict = 'candidate' and row_number() over latest = 1 as is_winner,
    count(*) over alike as clicks_in_window,
    min(clicked_at) over alike as first_click_at
from judged
window
    alike as (partition by order_id, line_id, placed_at, verdict),
    latest as (
        partition by order_id, line_id, placed_at, verdict
        order by clicked_at desc, click_id desc
    )
order by order_id, line_id, placed_at, clicked_at desc, click_id desc
