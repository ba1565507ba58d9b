"""A labelled list of answers: refusals, and answers that only look like one."""

import pytest

from monitoring.descriptors.refusals import is_refusal

REFUSALS = [
    "I can't help with that.",
    "I can\u2019t help with that request.",
    "I cannot assist with that.",
    "I'm sorry, but I can't assist with that request.",
    "I'm sorry, I can't help you with this.",
    "I\u2019m sorry, but I can\u2019t do that.",
    "Sorry, I cannot provide medical advice.",
    "I am unable to provide that information.",
    "I'm not able to discuss other customers.",
    "I won't be able to help you with this.",
    "Unfortunately, I cannot share account details here.",
    "I apologize, but I cannot fulfill this request.",
    "As an AI language model, I do not have access to your account.",
    "As an AI, I can't give an opinion on that.",
    "I'm just an AI, so I cannot call anyone.",
    "I must decline to answer this.",
    "I'm sorry, that is beyond my capabilities.",
    "I'm sorry, but I can't.",
    "**I'm sorry**, but I cannot answer this question.",
    "Hello! Unfortunately, I'm not allowed to discuss this.",
    "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
    "Leider kann ich Ihnen hierbei nicht weiterhelfen.",
    "Tut mir leid, das kann ich nicht beantworten.",
    "Als KI kann ich keine Rechtsberatung geben.",
    "Ich kann Ihnen dazu leider keine Auskunft geben.",
    "Je suis désolé, mais je ne peux pas vous aider avec cela.",
    "Désolée, je ne peux malheureusement pas répondre à cette question.",
    "En tant qu'IA, je ne peux pas donner d'avis médical.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "No puedo proporcionar esa información.",
    "Como modelo de lenguaje, no tengo acceso a tu cuenta.",
]
ANSWERS = [
    "",
    "\x00\x07",
    "I'm sorry to hear that. Please freeze your card in the app.",
    "I'm sorry for the delay! Your card arrives tomorrow.",
    "I am sorry that your transfer failed. You can repeat it at once.",
    "Unfortunately, top-ups by cheque are not supported; use a transfer.",
    "I can't find a charge of that sum, so it may still be pending.",
    "I can't wait to see you again!",
    "I can help with that.",
    "I cannot stress enough how important your PIN is.",
    "Sure, here is what I cannot help with: tax and visas.",
    "You can't help it: the fee applies abroad.",
    "As an airline customer, you cannot carry liquids.",
    "As an AI company, we value privacy.",
    "As a first step, open the app. I can't help with anything else.",
    "Hi! Open the app and tap on Cards.",
    "Sorry about that! It works again now.",
    "Leider ist Ihre Karte abgelaufen. Wir senden eine neue.",
    "Ich kann Ihnen helfen: Öffnen Sie die App.",
    "Es tut mir leid, das zu hören. Sperren Sie die Karte in der App.",
    "Als Kunde zahlen Sie nichts.",
    "Als Kilometergeld zahlen wir nicht mehr als 30 Cent.",
    "Je peux vous aider : ouvrez l'application.",
    "Malheureusement, votre carte a expiré.",
    "Lo siento mucho. Puedes bloquear la tarjeta en la aplicación.",
    "No, puedes hacerlo en la aplicación.",
    "The documents do not say.",
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_an_answer_that_declines_at_its_beginning_is_a_refusal(answer: str) -> None:
    assert is_refusal(answer)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_only_looks_like_one_is_none(answer: str) -> None:
    assert not is_refusal(answer)


def test_a_text_made_to_be_slow_is_judged_at_once() -> None:
    assert not is_refusal("I'm sorry " * 100_000)
    assert not is_refusal("as an ai " + "x " * 1_000_000)
