"""What every command shares on the screen: tables, progress, questions, options and the words of reports."""
