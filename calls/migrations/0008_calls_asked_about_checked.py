"""What must be true of calls until they are settled, and how those that need somebody are found.

Apart from 0007, because PostgreSQL alters no table whose rows the same transaction has changed.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("calls", "0007_calls_asked_about")]

    operations = [
        migrations.RemoveConstraint(
            model_name="call",
            name="calls_settled_from_somebody",
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("reconcile_at__isnull", False)),
                fields=["reconcile_at"],
                name="idx_calls_reconcile",
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("review_reason", ""), _negated=True),
                fields=["ended_at"],
                name="idx_calls_review",
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(fields=["ended_at"], name="idx_calls_ended"),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("charged_pence__lt", models.F("vapi_cost_pence"))),
                fields=["ended_at"],
                name="idx_calls_below_cost",
            ),
        ),
        migrations.AddConstraint(
            model_name="call",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("settled_at", None), ("settled_from", "")),
                    models.Q(("settled_at__isnull", False), ("settled_from", "customer")),
                    models.Q(
                        ("announced_by_vapi", True),
                        ("settled_at__isnull", False),
                        ("settled_from__in", ["vapi", "staff"]),
                    ),
                    _connector="OR",
                ),
                name="calls_settled_from_somebody",
            ),
        ),
        migrations.AddConstraint(
            model_name="call",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("review_reason", ""),
                    models.Q(
                        ("announced_by_vapi", True),
                        ("ended_at__isnull", False),
                        ("settled_from__in", ["", "customer"]),
                    ),
                    _connector="OR",
                ),
                name="calls_reviewed_when_ended",
            ),
        ),
        migrations.AddConstraint(
            model_name="call",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("announced_by_vapi", True),
                        ("reconcile_at__isnull", False),
                        ("review_reason", ""),
                        ("settled_from__in", ["", "customer"]),
                        ("vapi_call_id__isnull", False),
                    ),
                    models.Q(
                        ("reconcile_at", None),
                        models.Q(
                            ("announced_by_vapi", False),
                            ("vapi_call_id", None),
                            ("settled_from__in", ["vapi", "staff"]),
                            models.Q(("review_reason", ""), _negated=True),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="calls_asked_about_until_settled",
            ),
        ),
        migrations.AddIndex(
            model_name="unbilledcall",
            index=models.Index(fields=["seen_at"], name="idx_unbilled_calls_seen"),
        ),
        migrations.AddConstraint(
            model_name="vapireading",
            constraint=models.CheckConstraint(
                condition=models.Q(("id", 1)), name="vapi_reading_one_row"
            ),
        ),
    ]
