-- How many order lines were placed on the dates, by date and status.
--
-- reads:  attribution.conversions
-- params: $from, $to
select order_date, status, count(*) as order_lines
from attribution.conversions
where placed_at >= $from and placed_at < $to
group by order_date, status
order by order_date, status
