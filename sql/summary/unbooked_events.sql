-- How many events of the dates make no movement: repeated placed events (A5) and orphans (M7).
--
-- reads:  attribution.unbooked_events
select
    count(*) filter (where why = 'repetition') as repeated_placed_events,
    count(*) filter (where why = 'orphan') as orphan_events
from attribution.unbooked_events
