import unittest

import page


def case(what, work, row, figures):
    return {"what": what, "work": work, "wire": row[0], "fields": row[1], "size": 20} | {
        "figures": figures
    }


def busy(up, down, **more):
    return {"bytes_up": up, "bytes_down": down} | more


class Page(unittest.TestCase):
    def results(self, *cases):
        return page.Results({"made_with": {}, "results": list(cases)})

    def test_a_handshake_is_earned_back_by_what_each_message_saves(self):
        websocket = busy(26, 22, opening_bytes_up=700, opening_bytes_down=100)
        rows = [("websocket", "browser"), ("http1", "minimal"), ("http1", "browser")]
        figures = [websocket, busy(86, 136), busy(900, 200)]
        cases = [case("busy", "echo", row, of) for row, of in zip(rows, figures)]
        results = self.results(*cases)
        # 800 bytes; 174 saved each time: four messages are not enough.
        self.assertEqual(page.break_even(results, rows[1], 20), 5)
        self.assertEqual(page.break_even(results, rows[2], 20), 1)

    def test_what_polling_costs_is_computed_from_an_answer_without_an_event(self):
        poll = case("busy", "push", ("http1-poll", "browser"), busy(700, 129))
        text = page.polling(self.results(poll)).replace("\n", " ")
        self.assertIn("without news costs 800 bytes", text)
        self.assertIn("every ten seconds costs 8,020 bytes", text)
        self.assertIn("69 MB a day", text)

    def test_numbers_go_where_the_page_wants_them_and_nowhere_else(self):
        text = "a\n<!-- numbers: x -->\nold\n<!-- end -->\nb\n"
        filled = page.filled(text, {"x": "new"})
        self.assertEqual(filled, text.replace("old", "new"))
        with self.assertRaises(KeyError):
            page.filled(text, {"x": "new", "y": "nowhere"})


if __name__ == "__main__":
    unittest.main()
