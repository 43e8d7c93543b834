"""The addresses of customers' pages about phone numbers.

Those that ask a phone company have prefixes of their own, by which `voxbilling.lanes` knows them.
"""

from django.urls import path

from telephony.pages import views

urlpatterns = [
    path("numbers/", views.numbers, name="numbers"),
    path("numbers/search/", views.search, name="search-numbers"),
    path("numbers/buy/", views.buy, name="buy-number"),
    path("numbers/orders/<uuid:order_id>/", views.order, name="number-order"),
    path("numbers/release/<uuid:number_id>/", views.release, name="release-number"),
]
