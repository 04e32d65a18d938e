-- How many order lines were placed on the dates, by status.
--
-- reads:  attribution.conversions
-- params: $from, $to
select status, count(*) as order_lines
from attribution.conversions
where placed_at >= $from and placed_at < $to
group by status
order by status
