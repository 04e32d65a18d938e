-- How many order lines were attributed on the dates, by how their click is the buyer's (C5).
--
-- reads:  attribution.conversions
-- params: $from, $to
select matched_by, count(*) as order_lines
from attribution.conversions
where placed_at >= $from and placed_at < $to and status = 'attributed'
group by matched_by
order by matched_by
