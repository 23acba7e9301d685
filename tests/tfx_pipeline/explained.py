"""Users and answers made by hand, for the page that explains them."""

from serving.client import CategoryPrediction, Explanation, Recommendation, WeighedEvent
from tfx_pipeline.explanation.subject import Answer, Event, Subject

DAY = 86_400
TITLES = {"milk": "Whole milk, 1 l", "bun": "Bun <b>", "ball": "", "rum": "Rum", "tea": "Tea"}
CATEGORY_OF = {"milk": "dairy", "bun": "bakery", "ball": "toys", "rum": "spirits", "tea": "spirits"}
# Three baskets: of two, of one, and of three in which milk stands twice.
EVENTS = [Event("milk", "dairy", 0, 0), Event("bun", "bakery", 0, 0), Event("milk", "dairy", 10 * DAY, 1),
          Event("milk", "dairy", 20 * DAY, 2), Event("milk", "dairy", 20 * DAY, 2),
          Event("rum", "spirits", 20 * DAY, 2)]
PREDICTIONS = [CategoryPrediction("dairy", 0.5, 0.8), CategoryPrediction("bakery", 0.25, 0.4),
               CategoryPrediction("toys", 0.125, 0.0)]
OF_DAIRY = (WeighedEvent("milk", 20 * DAY, 0.4), WeighedEvent("milk", 20 * DAY, 0.3), WeighedEvent("milk", 0, 0.2))
OF_BAKERY = (WeighedEvent("bun", 0, 1.0),)
EXPLANATIONS = [
    Explanation(Recommendation("milk", "dairy", "long-term", -0.51), 0.4, 0.1, OF_DAIRY),
    Explanation(Recommendation("bun", "bakery", "short-term", -2.5), 0.1, 0.15, OF_BAKERY),
    Explanation(Recommendation("ball", "toys", "backfill", -9.0), 0.0, 0.125, ()),
]
ANN = Subject("ann", "17", EVENTS, 30 * DAY, ["tea", "bun"],
              Answer(PREDICTIONS, EXPLANATIONS, {"dairy": OF_DAIRY, "bakery": OF_BAKERY}), TITLES, CATEGORY_OF)
NOT_HELD_OUT = ANN._replace(next_basket=None)
EMPTY = ANN._replace(events=[], next_basket=None, now=0, answer=Answer(
    [CategoryPrediction("dairy", 0.5, 0.0)],
    [Explanation(Recommendation("milk", "dairy", "long-term", -1.0), 0.0, 0.5, ())], {}))


def busy(events: int, categories: int) -> Subject:
    """A user with so many events, an hour apart, the categories in turn; the last of category 0 has all attention."""
    history = [Event(f"item {place}", f"category {place % categories}", place * 3600, place // 10)
               for place in range(events)]
    last = max(place for place in range(events) if place % categories == 0)
    attention = (WeighedEvent(f"item {last}", last * 3600, 1.0),)
    explanations = [Explanation(Recommendation(f"item {place}", f"category {place % categories}", "long-term", -1.0),
                                0.05, 0.0, attention if place % categories == 0 else ()) for place in range(500)]
    predictions = [CategoryPrediction(f"category {place}", 0.05, 1.0) for place in range(categories)]
    return Subject("busy", "17", history, events * 3600, [f"item {place}" for place in range(60)],
                   Answer(predictions, explanations, {"category 0": attention}),
                   {f"item {place}": f"A rather long name of a product, in a box, number {place}"
                    for place in range(events)}, {})
