-- Rejected rows of one log whose record holds a text such as "buyer_id":"Ana".
--
-- reads:  clean.rejects
-- params: $log, $needle
select dt, reason, row_id, record
from clean.rejects
where log = $log
    and strpos(record, $needle) > 0
order by dt, row_id, record
