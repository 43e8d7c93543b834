"""Top-ups, cards, refunds and disputes at Stripe, and when a wallet refills itself."""

import uuid

import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

from voxbilling.tenancy import TENANT_ROLE, row_level_security

RECHARGE = (
    "auto_recharge_enabled, auto_recharge_amount_pence, auto_recharge_threshold_pence,"
    " auto_recharge_monthly_cap_pence"
)


class Migration(migrations.Migration):
    dependencies = [
        ("wallets", "0007_owed_from_topups"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Dispute",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("stripe_dispute_id", models.CharField(max_length=200, unique=True)),
                ("amount_pence", models.BigIntegerField()),
                (
                    "reason",
                    models.CharField(blank=True, help_text="As Stripe says.", max_length=100),
                ),
                (
                    "withdrawn_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When Stripe took the money; empty for an inquiry.",
                        null=True,
                    ),
                ),
                (
                    "reinstated_at",
                    models.DateTimeField(
                        blank=True, help_text="When Stripe brought the money back.", null=True
                    ),
                ),
                (
                    "owed_pence",
                    models.BigIntegerField(
                        default=0, help_text="What the claw-back left owed, in pence."
                    ),
                ),
                (
                    "is_given_back",
                    models.BooleanField(
                        default=False, help_text="Whether the wallet has got back what was taken."
                    ),
                ),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "disputes",
            },
        ),
        migrations.CreateModel(
            name="PaymentProfile",
            fields=[
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="payment_profile",
                        serialize=False,
                        to="wallets.organization",
                    ),
                ),
                (
                    "stripe_customer_id",
                    models.CharField(
                        blank=True, editable=False, max_length=200, null=True, unique=True
                    ),
                ),
                (
                    "stripe_payment_method_id",
                    models.CharField(blank=True, editable=False, max_length=200),
                ),
                ("card_brand", models.CharField(blank=True, editable=False, max_length=40)),
                ("card_last4", models.CharField(blank=True, editable=False, max_length=4)),
                (
                    "card_saved_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="When a payment by this card was made with consent to keep it.",
                        null=True,
                    ),
                ),
                (
                    "declines_in_a_row",
                    models.PositiveSmallIntegerField(
                        default=0,
                        editable=False,
                        help_text="Automatic recharges that failed since the last good one.",
                    ),
                ),
                (
                    "recharge_not_before",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="No recharge is started before this: cooldown, or pause after a decline.",
                        null=True,
                    ),
                ),
            ],
            options={
                "db_table": "payment_profiles",
            },
        ),
        migrations.CreateModel(
            name="Refund",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("amount_pence", models.BigIntegerField()),
                ("reason", models.CharField(max_length=300)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("debited", "taken from the wallet, Stripe is asked"),
                            ("accepted", "on its way to the customer"),
                            ("reversed", "refused by Stripe, back in the wallet"),
                            ("returned", "came back from the bank, back in the wallet"),
                        ],
                        default="debited",
                        max_length=10,
                    ),
                ),
                (
                    "stripe_refund_id",
                    models.CharField(blank=True, max_length=200, null=True, unique=True),
                ),
                ("failure", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField()),
                (
                    "work_due_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the sweep asks Stripe about it; empty when it is known.",
                        null=True,
                    ),
                ),
                ("work_attempts", models.PositiveSmallIntegerField(default=0)),
            ],
            options={
                "db_table": "refunds",
            },
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        choices=[("checkout", "Checkout"), ("auto_recharge", "Auto Recharge")],
                        max_length=20,
                    ),
                ),
                ("amount_pence", models.BigIntegerField()),
                (
                    "saves_card",
                    models.BooleanField(
                        default=False,
                        help_text="Whether the customer agreed to keep the card for recharges.",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "waiting for the payment"),
                            ("processing", "paid by a method that takes days"),
                            ("paid", "Paid"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                (
                    "stripe_checkout_session_id",
                    models.CharField(blank=True, max_length=200, null=True, unique=True),
                ),
                (
                    "stripe_payment_intent_id",
                    models.CharField(blank=True, max_length=200, null=True, unique=True),
                ),
                ("failure_code", models.CharField(blank=True, max_length=60)),
                (
                    "failure",
                    models.CharField(
                        blank=True,
                        help_text="What the customer is told, in a sentence.",
                        max_length=500,
                    ),
                ),
                (
                    "refunded_pence",
                    models.BigIntegerField(
                        default=0, help_text="Given back by staff and not reversed, in pence."
                    ),
                ),
                (
                    "stripe_refunded_pence",
                    models.BigIntegerField(
                        default=0,
                        help_text="Given back as Stripe says, by whomever, in pence; never falls.",
                    ),
                ),
                (
                    "clawed_back_pence",
                    models.BigIntegerField(
                        default=0,
                        help_text="Taken from the wallet for refunds from outside, in pence.",
                    ),
                ),
                (
                    "attention",
                    models.CharField(
                        blank=True,
                        help_text="What staff should look at; empty when all is well.",
                        max_length=500,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "asked_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When Stripe was last asked what became of it.",
                        null=True,
                    ),
                ),
                (
                    "finished_at",
                    models.DateTimeField(
                        blank=True, help_text="When it was paid, failed or expired.", null=True
                    ),
                ),
            ],
            options={
                "db_table": "topups",
            },
        ),
        migrations.AddField(
            model_name="organization",
            name="auto_recharge_amount_pence",
            field=models.PositiveBigIntegerField(
                default=5000, help_text="What one automatic recharge pays in, in pence."
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="auto_recharge_enabled",
            field=models.BooleanField(
                default=False,
                help_text="Top up by the saved card when the effective balance runs low.",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="auto_recharge_monthly_cap_pence",
            field=models.PositiveBigIntegerField(
                default=50000,
                help_text="What automatic recharges pay in at most in a calendar month (UTC), in pence.",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="auto_recharge_threshold_pence",
            field=models.PositiveBigIntegerField(
                default=1000,
                help_text="An effective balance below this starts a recharge, in pence.",
            ),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(("auto_recharge_amount_pence__gt", 0)),
                name="organizations_recharge_amount_positive",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="claw_back",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="dispute",
                to="wallets.credittransaction",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="disputes",
                to="wallets.organization",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentprofile",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("card_saved_at", None), ("stripe_payment_method_id", "")),
                    models.Q(
                        models.Q(("stripe_payment_method_id", ""), _negated=True),
                        ("card_saved_at__isnull", False),
                        ("stripe_customer_id__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="payment_profiles_card_kept_with_consent",
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="debit",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refund",
                to="wallets.credittransaction",
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refunds",
                to="wallets.organization",
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="requested_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="reversal",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reversed_refund",
                to="wallets.credittransaction",
            ),
        ),
        migrations.AddField(
            model_name="topup",
            name="entry",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="topup",
                to="wallets.credittransaction",
            ),
        ),
        migrations.AddField(
            model_name="topup",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="topups",
                to="wallets.organization",
            ),
        ),
        migrations.AddField(
            model_name="topup",
            name="requested_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="topup",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refunds",
                to="wallets.topup",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="topup",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="disputes",
                to="wallets.topup",
            ),
        ),
        migrations.AddIndex(
            model_name="topup",
            index=models.Index(
                fields=["organization", "created_at"], name="idx_topups_org_created"
            ),
        ),
        migrations.AddIndex(
            model_name="topup",
            index=models.Index(
                condition=models.Q(("status__in", ["pending", "processing"])),
                fields=["created_at"],
                name="idx_topups_in_flight",
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("origin", "auto_recharge"), ("status__in", ["pending", "processing"])
                ),
                fields=("organization",),
                name="topups_one_recharge_in_flight",
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_pence__gt", 0)), name="topups_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(
                condition=models.Q(("origin__in", ["checkout", "auto_recharge"])),
                name="topups_origin_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("entry", None),
                        ("finished_at", None),
                        ("status__in", ["pending", "processing"]),
                    ),
                    models.Q(
                        ("entry", None),
                        ("finished_at__isnull", False),
                        ("status__in", ["failed", "expired"]),
                    ),
                    models.Q(
                        ("entry__isnull", False),
                        ("finished_at__isnull", False),
                        ("status", "paid"),
                        ("stripe_payment_intent_id__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="topups_paid_with_entry",
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "amount_pence__gte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("refunded_pence"), "+", models.F("clawed_back_pence")
                        ),
                    ),
                    ("clawed_back_pence__gte", 0),
                    ("refunded_pence__gte", 0),
                    ("stripe_refunded_pence__gte", 0),
                ),
                name="topups_given_back_at_most_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status", "paid"),
                    models.Q(("clawed_back_pence", 0), ("refunded_pence", 0)),
                    _connector="OR",
                ),
                name="topups_given_back_when_paid",
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("work_due_at__isnull", False)),
                fields=["work_due_at"],
                name="idx_refunds_work_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_pence__gt", 0)), name="refunds_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("reversal", None), ("status", "debited"), ("work_due_at__isnull", False)
                    ),
                    models.Q(
                        ("reversal", None),
                        ("status", "accepted"),
                        ("stripe_refund_id__isnull", False),
                        ("work_due_at", None),
                    ),
                    models.Q(
                        ("reversal__isnull", False), ("status", "reversed"), ("work_due_at", None)
                    ),
                    models.Q(
                        ("reversal__isnull", False),
                        ("status", "returned"),
                        ("stripe_refund_id__isnull", False),
                        ("work_due_at", None),
                    ),
                    _connector="OR",
                ),
                name="refunds_reversed_with_entry",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_pence__gt", 0)), name="disputes_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("claw_back", None), ("is_given_back", False), ("owed_pence", 0)),
                    models.Q(
                        ("claw_back__isnull", False),
                        ("owed_pence__gte", 0),
                        ("owed_pence__lte", models.F("amount_pence")),
                    ),
                    _connector="OR",
                ),
                name="disputes_given_back_when_taken",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_given_back", False), ("reinstated_at__isnull", False), _connector="OR"
                ),
                name="disputes_given_back_when_reinstated",
            ),
        ),
        migrations.RunSQL(
            f"GRANT SELECT ({RECHARGE}) ON organizations TO {TENANT_ROLE}",
            f"REVOKE SELECT ({RECHARGE}) ON organizations FROM {TENANT_ROLE}",
        ),
        row_level_security(
            "payment_profiles",
            readable=[
                "organization_id",
                "card_brand",
                "card_last4",
                "card_saved_at",
                "declines_in_a_row",
                "recharge_not_before",
            ],
        ),
        row_level_security(
            "topups",
            readable=[
                "id",
                "organization_id",
                "origin",
                "amount_pence",
                "saves_card",
                "status",
                "requested_by_id",
                "stripe_checkout_session_id",
                "stripe_payment_intent_id",
                "entry_id",
                "failure_code",
                "failure",
                "refunded_pence",
                "stripe_refunded_pence",
                "clawed_back_pence",
                "created_at",
                "asked_at",
                "finished_at",
            ],
        ),
        row_level_security(
            "refunds",
            readable=[
                "id",
                "organization_id",
                "topup_id",
                "amount_pence",
                "status",
                "stripe_refund_id",
                "debit_id",
                "reversal_id",
                "created_at",
            ],
        ),
        row_level_security(
            "disputes",
            readable=[
                "id",
                "organization_id",
                "topup_id",
                "stripe_dispute_id",
                "amount_pence",
                "reason",
                "withdrawn_at",
                "reinstated_at",
                "claw_back_id",
                "owed_pence",
                "is_given_back",
                "created_at",
            ],
        ),
    ]
