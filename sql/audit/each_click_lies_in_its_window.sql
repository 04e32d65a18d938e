-- Every attributed line's click happened before the order and no longer ago than the window.
--
-- reads:  attribution.conversions
-- params: $from, $to, $window, $tie
select
    order_id,
    line_id,
    placed_at,
    click_id,
    clicked_at
from attribution.conversions
where placed_at >= $from
    and placed_at < $to
    and status = 'attributed'
    and not coalesce(
        clicked_at >= placed_at - cast($window as interval)
            and (clicked_at < placed_at or ($tie = 'at_or_before' and clicked_at = placed_at)),
        false
    )
order by order_id, line_id
